"""One run in front of a person, a pipe or a program: from its start to its end by itself, by a rule or a signal."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sshfan_async.cli.background import BackgroundRun
from sshfan_async.cli.output import STDERR, OutputClosed
from sshfan_async.cli.process import raise_file_limit
from sshfan_async.cli.signals import StopSignals
from sshfan_async.events import HostFinished
from sshfan_async.outcome import Status
from sshfan_async.report import Report

if TYPE_CHECKING:
    import signal

    from sshfan_async.cli.rollout import Rules
    from sshfan_async.cli.showing import Showing
    from sshfan_async.events import Event
    from sshfan_async.outcome import Outcome
    from sshfan_async.settings import Run
    from sshfan_async.targets import Target

__all__ = ["Conclusion", "execute"]

_TICK = 0.1
"""Seconds without an event after which the progress is drawn anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """How a run ended."""

    report: Report
    seconds: float
    stopped_by: signal.Signals | None = None
    rule: str | None = None
    """The option that ended it early."""
    largest: bool = False
    """Whether the exit code is to be the largest of the hosts' own."""

    @property
    def ended_by(self) -> str | None:
        """What ended the run early: a signal's name, or an option."""
        return self.rule if self.stopped_by is None else self.stopped_by.name

    @property
    def exit_code(self) -> int:
        """That of the signal which ended the run, or what the hosts make."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        # Whom a rule of ours stopped has not failed by itself.
        stopped = (Status.CANCELLED, Status.NOT_RUN) if self.rule is not None else ()
        counted = [outcome for outcome in self.report if outcome.status not in stopped or outcome.clock is not None]
        if not self.largest:
            return replace(self.report, outcomes=tuple(counted)).exit_code
        return max((255 if outcome.exit_code is None else outcome.exit_code for outcome in counted), default=0)


@dataclass(slots=True)
class _Finished:
    """The outcomes by target, without the output that the view has already had."""

    outcomes: dict[Target, Outcome] = field(default_factory=dict)

    def note(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, HostFinished):
                outcome = event.outcome
                self.outcomes[outcome.target] = replace(outcome, stdout_kept=b"", stderr_kept=b"")


def execute(run: Run, showing: Showing, rules: Rules, *, largest: bool = False) -> Conclusion:
    """Run to the end, or to a signal, which leaves what was gathered by then; the children are gone in either case.

    Raises:
        OutputClosed, OutputFailed: what is to be shown cannot be written.

    """
    raise_file_limit()
    began = time.monotonic()
    finished = _Finished()
    # Phases are shown on a terminal only; elsewhere they would but wake us, a thousand times for 200 hosts.
    terminal = os.isatty(STDERR)
    background = BackgroundRun(run, rules, showing.followed, phases=terminal)
    with StopSignals(background.stop, asks=terminal) as signals:
        try:
            with background:
                # Loaded while the first connections are being made: rich alone takes 40 ms.
                from sshfan_async.cli.show import Show

                show = Show(showing, len(run.targets))
                for events in background.batches(_TICK):
                    if showing.files is not None:
                        events = showing.files.taken(events)
                    if terminal and signals.received is not None:
                        show.tell_end(run)  # before the first ends that it brings are taken in
                    show.take(events)
                    finished.note(events)
                    if signals.asked and signals.received is None:
                        signals.asked = False
                        show.tell_in_flight()
                    show.refresh()
            signals.raises = True
            show.close()
            conclusion = Conclusion(
                report=Report(tuple(finished.outcomes[target] for target in run.targets), finished_at=time.time()),
                seconds=time.monotonic() - began,
                stopped_by=signals.received,
                rule=background.ended_by,
                largest=largest,
            )
            show.conclude(conclusion)
        except OutputClosed:
            if signals.received is None:
                raise
            raise OutputClosed(signals.received) from None  # a hangup takes the terminal along
    return conclusion
