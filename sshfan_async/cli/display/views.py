"""Views: turn the hosts' output into bytes for the screen, as lines, raw bytes or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from sshfan_async.cli.display.lines import Lines
from sshfan_async.cli.output import STDERR, STDOUT
from sshfan_async.report import outcome_json

if TYPE_CHECKING:
    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.cli.display.lines import LineStyle
    from sshfan_async.cli.display.screen import Screen
    from sshfan_async.event import HostOutput, Stream
    from sshfan_async.outcome import Outcome
    from sshfan_async.targets import Target

__all__ = ["JsonView", "LiveView", "View"]

_DESCRIPTORS: dict[Stream, int] = {"stdout": STDOUT, "stderr": STDERR}
_MOST_UNFINISHED = 64 * 1024 * 1024
"""Bytes of unfinished lines, of all hosts together, at which long lines are broken early: they are in our memory."""
_LONG = 64 * 1024
"""Bytes of a line that may be broken early."""


class View(Protocol):
    """Turns events of the hosts into bytes for the screen."""

    def output(self, event: HostOutput) -> None:
        """Handle output of a host."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """Handle the end of a host. After this call, only the view still holds the outcome's output."""
        ...

    def conclude(self, conclusion: Conclusion) -> None:
        """Handle the end of the run."""
        ...


class LiveView:
    """Shows lines as they arrive."""

    def __init__(self, screen: Screen, styles: dict[int, LineStyle]) -> None:
        self._screen = screen
        self._styles = styles
        self._lines: dict[tuple[Target, Stream], Lines] = {}
        self._unfinished = 0

    def output(self, event: HostOutput) -> None:
        """Show the lines that the event completes."""
        descriptor = _DESCRIPTORS[event.stream]
        lines = self._lines.get((event.target, event.stream))
        if lines is None:
            lines = self._lines[event.target, event.stream] = Lines(event.host, self._styles[descriptor])
        self._unfinished -= lines.unfinished
        self._screen.add(descriptor, lines.feed(event.data))
        if lines.unfinished > _LONG and self._unfinished + lines.unfinished > _MOST_UNFINISHED:
            self._screen.add(descriptor, lines.end())
        self._unfinished += lines.unfinished

    def finished(self, outcome: Outcome) -> None:
        """Show the last lines, also without a newline at the end."""
        for stream, descriptor in _DESCRIPTORS.items():
            lines = self._lines.pop((outcome.target, stream), None)
            if lines is not None:
                self._unfinished -= lines.unfinished
                self._screen.add(descriptor, lines.end())

    def conclude(self, conclusion: Conclusion) -> None:
        """Do nothing: all output is shown."""


class BytesView:
    """Shows the standard output of one host byte for byte, and its standard error as lines."""

    def __init__(self, screen: Screen, styles: dict[int, LineStyle]) -> None:
        self._screen = screen
        self._live = LiveView(screen, styles)

    def output(self, event: HostOutput) -> None:
        """Show the output."""
        if event.stream == "stdout":
            self._screen.add(STDOUT, event.data)
        else:
            self._live.output(event)

    def finished(self, outcome: Outcome) -> None:
        """Show the last line of standard error, also without a newline at the end."""
        self._live.finished(outcome)

    def conclude(self, conclusion: Conclusion) -> None:
        """Do nothing: all output is shown."""


class JsonView:
    """Shows one JSON object per line: each outcome, then the summary. docs/json.md describes the fields."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def output(self, event: HostOutput) -> None:
        """Do nothing: the outcome has the output."""

    def finished(self, outcome: Outcome) -> None:
        """Show the outcome, in pieces: its output need not fit into memory."""
        for piece in outcome_json(outcome, type="outcome"):
            self._screen.add(STDOUT, piece.encode("ascii"))
        self._screen.add(STDOUT, b"\n")

    def conclude(self, conclusion: Conclusion) -> None:
        """Show the summary."""
        report = conclusion.report
        fields = {
            "type": "summary",
            "hosts": len(report),
            "counts": {status.value: len(found) for status, found in report.by_status.items()},
            "seconds": conclusion.seconds,
            "finished_at": report.finished_at,
            "ended_by": conclusion.ended_by,
            "exit_code": conclusion.exit_code,
        }
        self._screen.add(STDOUT, json.dumps(fields).encode("ascii") + b"\n")
