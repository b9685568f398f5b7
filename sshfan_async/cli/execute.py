"""One run in front of a person or a pipe: its output as each host ends, its progress, its end by a signal."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshfan_async.cli.background import BackgroundRun
from sshfan_async.cli.lines import for_pipe, for_terminal
from sshfan_async.cli.output import STDERR, STDOUT, OutputClosed, write
from sshfan_async.cli.process import raise_file_limit
from sshfan_async.cli.progress import Progress
from sshfan_async.cli.signals import StopSignals
from sshfan_async.events import HostFinished
from sshfan_async.report import Report

if TYPE_CHECKING:
    import signal
    from typing import BinaryIO

    from rich.console import Console

    from sshfan_async.outcome import Outcome
    from sshfan_async.settings import Run
    from sshfan_async.targets import Target

__all__ = ["Conclusion", "execute"]

_TICK = 0.1
"""Seconds without an event after which the progress is drawn anew."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a run ended."""

    report: Report
    seconds: float
    stopped_by: signal.Signals | None

    @property
    def exit_code(self) -> int:
        """The report's own, or that of the signal which ended the run."""
        return self.report.exit_code if self.stopped_by is None else 128 + self.stopped_by


def execute(run: Run, console: Console) -> Conclusion:
    """Run to the end, or to a signal, which leaves what was gathered by then; the children are gone in either case.

    `console` is that of stderr, where the progress goes if it is a terminal.
    """
    raise_file_limit()
    began = time.monotonic()
    view = _View(console, len(run.targets))
    outcomes: dict[Target, Outcome] = {}
    background = BackgroundRun(run)
    with StopSignals(background.stop) as signals, background:
        try:
            for events in background.batches(_TICK):
                ended = [event.outcome for event in events if isinstance(event, HostFinished)]
                outcomes.update((outcome.target, outcome) for outcome in ended)
                view.progress.note(events)
                view.show(ended)
            view.close()
        except OutputClosed:
            if signals.received is None:
                raise
            raise OutputClosed(signals.received) from None  # a hangup takes the terminal along
    report = Report(tuple(outcomes[target] for target in run.targets), finished_at=time.time())
    return Conclusion(report, time.monotonic() - began, signals.received)


class _View:
    """The two outputs, and the progress that gets out of their way."""

    def __init__(self, console: Console, total: int) -> None:
        self.progress = Progress(console, total)
        # Not `console.is_terminal`: FORCE_COLOR makes rich call a pipe a terminal.
        self._draws = os.isatty(STDERR) and not console.is_dumb_terminal
        self._waiting: list[Outcome] = []
        self._prefixed = {
            descriptor: for_terminal if os.isatty(descriptor) else for_pipe for descriptor in (STDOUT, STDERR)
        }

    def show(self, ended: list[Outcome]) -> None:
        self._waiting += ended
        if not self._draws:
            self._show_outputs()
        elif self.progress.due:
            if self._waiting:
                self.close()
            write(STDERR, self.progress.draw())

    def close(self) -> None:
        """Take the progress away and show what it has kept waiting."""
        if self._draws:
            write(STDERR, self.progress.erase())
        self._show_outputs()

    def _show_outputs(self) -> None:
        for outcome in self._waiting:
            self._show_output(STDOUT, outcome.open_stdout(), outcome.host)
            self._show_output(STDERR, outcome.open_stderr(), outcome.host)
        self._waiting.clear()

    def _show_output(self, descriptor: int, output: BinaryIO, host: str) -> None:
        with output:
            for data in self._prefixed[descriptor](output, host):
                write(descriptor, data)
