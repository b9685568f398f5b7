"""One run in front of a person, a pipe or a program: its output, its progress, its end by a rule or a signal."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from sshfan_async.cli.background import BackgroundRun
from sshfan_async.cli.inflight import InFlight
from sshfan_async.cli.output import STDERR, STDOUT, OutputClosed, say
from sshfan_async.cli.process import raise_file_limit
from sshfan_async.cli.progress import Progress
from sshfan_async.cli.screen import Screen, line_style
from sshfan_async.cli.signals import StopSignals
from sshfan_async.cli.views import BytesView, JsonView, LiveView
from sshfan_async.events import HostFinished, HostOutput
from sshfan_async.outcome import Status
from sshfan_async.report import Report

if TYPE_CHECKING:
    import signal

    from rich.console import Console

    from sshfan_async.cli.files import HostFiles
    from sshfan_async.cli.rollout import Rules
    from sshfan_async.cli.views import View
    from sshfan_async.events import Event
    from sshfan_async.outcome import Outcome
    from sshfan_async.settings import Run
    from sshfan_async.targets import Target

__all__ = ["Conclusion", "Showing", "What", "execute"]

What: TypeAlias = Literal["live", "gather", "json", "nothing"]

_TICK = 0.1
"""Seconds without an event after which the progress is drawn anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What one wants to see of the hosts' output."""

    what: What = "live"
    with_stderr: bool = False
    """Gather standard error too."""
    as_diff: bool = False
    named: bool = True
    raw: bool = False
    files: HostFiles | None = None


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

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.target] = replace(outcome, stdout_kept=b"", stderr_kept=b"")


def execute(run: Run, console: Console, showing: Showing, rules: Rules, *, largest: bool = False) -> Conclusion:
    """Run to the end, or to a signal, which leaves what was gathered by then; the children are gone in either case.

    `console` is that of stderr, where the progress goes if it is a terminal.

    Raises:
        OutputClosed, OutputFailed: what is to be shown cannot be written.

    """
    raise_file_limit()
    began = time.monotonic()
    state = InFlight(len(run.targets))
    screen = Screen(console, Progress(console, state))
    view = _view(showing, screen, console, len(run.targets))
    streams = view.streams if showing.files is None else view.streams | showing.files.streams
    finished = _Finished()
    background = BackgroundRun(run, rules, streams)
    with StopSignals(background.stop, asks=os.isatty(STDERR)) as signals:
        try:
            with background:
                for events in background.batches(_TICK):
                    state.note(events)
                    _show(events, view, showing.files, finished)
                    if signals.asked and signals.received is None:
                        signals.asked = False
                        screen.close()
                        for line in state.lines():
                            say(line)
                    screen.refresh()
            signals.raises = True
            screen.close()
            conclusion = Conclusion(
                report=Report(tuple(finished.outcomes[target] for target in run.targets), finished_at=time.time()),
                seconds=time.monotonic() - began,
                stopped_by=signals.received,
                rule=background.ended_by,
                largest=largest,
            )
            view.conclude(conclusion)
            screen.close()
        except OutputClosed:
            if signals.received is None:
                raise
            raise OutputClosed(signals.received) from None  # a hangup takes the terminal along
    return conclusion


def _show(events: list[Event], view: View, files: HostFiles | None, finished: _Finished) -> None:
    for event in events:
        if isinstance(event, HostOutput):
            if event.stream in view.streams:
                view.output(event)
            if files is not None:
                files.output(event)
        elif isinstance(event, HostFinished):
            view.finished(event.outcome)
            finished.add(event.outcome)


def _view(showing: Showing, screen: Screen, console: Console, hosts: int) -> View:
    if showing.what == "json":
        return JsonView(screen)
    styles = {
        descriptor: line_style(descriptor, console, named=showing.named, raw=showing.raw)
        for descriptor in (STDOUT, STDERR)
    }
    if showing.what == "nothing":
        return LiveView(screen, styles, frozenset())
    if showing.what == "live":
        if hosts == 1 and not showing.named and not os.isatty(STDOUT):
            return BytesView(screen)
        return LiveView(screen, styles, frozenset(("stdout", "stderr")))
    from sshfan_async.cli.gather import GatherView

    return GatherView(screen, styles, with_stderr=showing.with_stderr, as_diff=showing.as_diff)
