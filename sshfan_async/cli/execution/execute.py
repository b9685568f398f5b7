"""Execute one run and show it, until it ends, a rule such as -k stops it, or a signal does."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

from sshfan_async.cli.execution.own_process import collect_garbage, raise_file_limit
from sshfan_async.cli.execution.run_thread import RunThread
from sshfan_async.cli.execution.signals import StopSignals
from sshfan_async.cli.output import STDERR, OutputClosed
from sshfan_async.event import HostFinished

if TYPE_CHECKING:
    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.cli.display.choice import DisplayChoice
    from sshfan_async.cli.execution.rollout import Rules
    from sshfan_async.engine.run import Run
    from sshfan_async.event import Event
    from sshfan_async.outcome import Outcome
    from sshfan_async.targets import Target

__all__ = ["execute"]

_TICK = 0.1
"""Seconds without an event after which the progress is redrawn."""


class _Outcomes:
    """The outcomes by target, without their output: the display already has it."""

    def __init__(self) -> None:
        self.by_target: dict[Target, Outcome] = {}

    def note(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, HostFinished):
                outcome = event.outcome
                self.by_target[outcome.target] = replace(outcome, stdout_kept=b"", stderr_kept=b"")


def execute(run: Run, choice: DisplayChoice, rules: Rules, *, largest: bool = False) -> Conclusion:
    """Run until the end or a signal, and return the results so far. No child process is left in either case.

    Raises:
        OutputClosed, OutputFailed: the output cannot be written.

    """
    raise_file_limit()
    collect_garbage()
    began = time.monotonic()
    outcomes = _Outcomes()
    # Only a terminal shows phases. Without one, they would wake this thread for nothing, 1000 times for 200 hosts.
    terminal = os.isatty(STDERR)
    run_thread = RunThread(run, rules, choice.needed_streams, phases=terminal)
    with StopSignals(run_thread.stop, first_ctrl_c_asks=terminal) as signals:
        try:
            with run_thread:
                received = run_thread.events(_TICK)
                first = next(received)
                # Imported when the first ssh is on its way: until then, this thread would only delay the other one.
                from sshfan_async.cli.conclusion import Conclusion
                from sshfan_async.cli.display.display import Display
                from sshfan_async.report import Report

                import_module("sshfan_async.cli.display.summary")  # the caller shows it at the end
                display = Display(choice, len(run.targets))
                for events in chain((first,), received):
                    if choice.files is not None:
                        events = choice.files.write(events)
                    if terminal and signals.received is not None:
                        display.announce_stop(run)  # before the display handles the hosts that it ended
                    display.handle(events)
                    outcomes.note(events)
                    if signals.status_wanted and signals.received is None:
                        signals.status_wanted = False
                        display.show_in_flight()
                    display.refresh()
            signals.nothing_runs = True
            display.flush()
            conclusion = Conclusion(
                report=Report(tuple(outcomes.by_target[target] for target in run.targets), finished_at=time.time()),
                seconds=time.monotonic() - began,
                stopped_by=signals.received,
                rule=run_thread.ended_by,
                largest=largest,
            )
            display.conclude(conclusion)
        except OutputClosed:
            if signals.received is None:
                raise
            raise OutputClosed(signals.received) from None  # a hangup also closes the terminal
        finally:
            if choice.files is not None:
                choice.files.write(run_thread.remaining())
                choice.files.close()
    return conclusion
