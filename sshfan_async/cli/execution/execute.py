"""One run in front of a person, a pipe or a program: from its start to its end by itself, by a rule or a signal."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sshfan_async.cli.conclusion import Conclusion
from sshfan_async.cli.execution.own_process import raise_file_limit
from sshfan_async.cli.execution.run_thread import RunThread
from sshfan_async.cli.execution.signals import StopSignals
from sshfan_async.cli.output import STDERR, OutputClosed
from sshfan_async.event import HostFinished
from sshfan_async.report import Report

if TYPE_CHECKING:
    from sshfan_async.cli.display.choice import DisplayChoice
    from sshfan_async.cli.execution.rollout import Rules
    from sshfan_async.engine.run import Run
    from sshfan_async.event import Event
    from sshfan_async.outcome import Outcome
    from sshfan_async.targets import Target

__all__ = ["execute"]

_TICK = 0.1
"""Seconds without an event after which the progress is drawn anew."""


@dataclass(slots=True)
class _Finished:
    """The outcomes by target, without the output that the view has already had."""

    outcomes: dict[Target, Outcome] = field(default_factory=dict)

    def note(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, HostFinished):
                outcome = event.outcome
                self.outcomes[outcome.target] = replace(outcome, stdout_kept=b"", stderr_kept=b"")


def execute(run: Run, choice: DisplayChoice, rules: Rules, *, largest: bool = False) -> Conclusion:
    """Run to the end, or to a signal, which leaves what was gathered by then; the children are gone in either case.

    Raises:
        OutputClosed, OutputFailed: what is to be shown cannot be written.

    """
    raise_file_limit()
    began = time.monotonic()
    finished = _Finished()
    # Phases are shown on a terminal only; elsewhere they would but wake us, a thousand times for 200 hosts.
    terminal = os.isatty(STDERR)
    run_thread = RunThread(run, rules, choice.followed, phases=terminal)
    with StopSignals(run_thread.stop, asks=terminal) as signals:
        try:
            with run_thread:
                # Loaded while the first connections are being made: rich alone takes 40 ms.
                from sshfan_async.cli.display.display import Display

                display = Display(choice, len(run.targets))
                for events in run_thread.batches(_TICK):
                    if choice.files is not None:
                        events = choice.files.taken(events)
                    if terminal and signals.received is not None:
                        display.tell_end(run)  # before the first ends that it brings are taken in
                    display.take(events)
                    finished.note(events)
                    if signals.asked and signals.received is None:
                        signals.asked = False
                        display.tell_in_flight()
                    display.refresh()
            signals.raises = True
            display.close()
            conclusion = Conclusion(
                report=Report(tuple(finished.outcomes[target] for target in run.targets), finished_at=time.time()),
                seconds=time.monotonic() - began,
                stopped_by=signals.received,
                rule=run_thread.ended_by,
                largest=largest,
            )
            display.conclude(conclusion)
        except OutputClosed:
            if signals.received is None:
                raise
            raise OutputClosed(signals.received) from None  # a hangup takes the terminal along
    return conclusion
