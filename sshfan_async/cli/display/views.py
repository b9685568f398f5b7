"""What is shown of the hosts' output: lines as they come, equal output once, JSON, or nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from sshfan_async.cli.display.lines import Lines
from sshfan_async.cli.output import STDERR, STDOUT
from sshfan_async.report import outcome_fields

if TYPE_CHECKING:
    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.cli.display.lines import LineStyle
    from sshfan_async.cli.display.screen import Screen
    from sshfan_async.event import HostOutput, Stream
    from sshfan_async.outcome import Outcome
    from sshfan_async.targets import Target

__all__ = ["JsonView", "LiveView", "View"]

_DESCRIPTORS: dict[Stream, int] = {"stdout": STDOUT, "stderr": STDERR}


class View(Protocol):
    """Turns what happens to the hosts into bytes on the screen."""

    def output(self, event: HostOutput) -> None:
        """A host has written something."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """A host has ended; the outcome's output is not kept any longer than this call unless the view keeps it."""
        ...

    def conclude(self, conclusion: Conclusion) -> None:
        """All hosts have ended."""
        ...


class LiveView:
    """Lines as they come."""

    def __init__(self, screen: Screen, styles: dict[int, LineStyle]) -> None:
        self._screen = screen
        self._styles = styles
        self._lines: dict[tuple[Target, Stream], Lines] = {}

    def output(self, event: HostOutput) -> None:
        """Show the lines that the event completes."""
        descriptor = _DESCRIPTORS[event.stream]
        lines = self._lines.get((event.target, event.stream))
        if lines is None:
            lines = self._lines[event.target, event.stream] = Lines(event.host, self._styles[descriptor])
        self._screen.add(descriptor, lines.feed(event.data))

    def finished(self, outcome: Outcome) -> None:
        """Show the last lines, which may lack their newlines."""
        for stream, descriptor in _DESCRIPTORS.items():
            lines = self._lines.pop((outcome.target, stream), None)
            if lines is not None:
                self._screen.add(descriptor, lines.end())

    def conclude(self, conclusion: Conclusion) -> None:
        """Nothing is left to show."""


class BytesView:
    """One host's output exactly as it comes: not even a newline is added."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def output(self, event: HostOutput) -> None:
        """Show it."""
        self._screen.add(_DESCRIPTORS[event.stream], event.data)

    def finished(self, outcome: Outcome) -> None:
        """Nothing is left to show."""

    def conclude(self, conclusion: Conclusion) -> None:
        """Nothing is left to show."""


class JsonView:
    """One JSON object a line: each outcome as it ends, then the summary. docs/json.md describes the fields."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def output(self, event: HostOutput) -> None:
        """The outcome has it."""

    def finished(self, outcome: Outcome) -> None:
        """Show the outcome."""
        self._line({"type": "outcome", **outcome_fields(outcome)})

    def conclude(self, conclusion: Conclusion) -> None:
        """Show the summary."""
        report = conclusion.report
        self._line(
            {
                "type": "summary",
                "hosts": len(report),
                "counts": {status.value: len(found) for status, found in report.by_status.items()},
                "seconds": conclusion.seconds,
                "finished_at": report.finished_at,
                "ended_by": conclusion.ended_by,
                "exit_code": conclusion.exit_code,
            }
        )

    def _line(self, fields: dict[str, object]) -> None:
        self._screen.add(STDOUT, json.dumps(fields).encode("ascii") + b"\n")
