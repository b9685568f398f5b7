"""Our two outputs and the progress between them: what is to be shown is collected, and written in its order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sshfan_async.cli.display.lines import LineStyle
from sshfan_async.cli.output import STDERR, STDOUT, write

if TYPE_CHECKING:
    from rich.console import Console

    from sshfan_async.cli.display.progress import Progress

__all__ = ["Screen", "line_style"]


class Screen:
    """Collects bytes for stdout and stderr; the progress, where there is one, gets out of their way."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._waiting: list[tuple[int, list[bytes]]] = []

    def add(self, descriptor: int, data: bytes) -> None:
        """Have `data` written after all that was added before."""
        if not data:
            return
        if self._waiting and self._waiting[-1][0] == descriptor:
            self._waiting[-1][1].append(data)
        else:
            self._waiting.append((descriptor, [data]))

    def refresh(self) -> None:
        """Write what waits: at once, or on a terminal as often as the progress is drawn."""
        if self._progress is None:
            self._write()
        elif self._progress.due:
            if self._waiting:
                self.close()
            write(STDERR, self._progress.draw())

    def close(self) -> None:
        """Take the progress away and write what waits."""
        if self._progress is not None:
            write(STDERR, self._progress.erase())
        self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for descriptor, chunks in waiting:
            write(descriptor, b"".join(chunks))


def line_style(descriptor: int, console: Console, *, named: bool, raw: bool) -> LineStyle:
    """Return how a host's lines look on `descriptor`; `console` knows whether this terminal has colours."""
    if not os.isatty(descriptor):
        return LineStyle(named=named)
    if console.no_color or console.color_system is None:
        return LineStyle(named=named, neutralised=not raw)
    if descriptor == STDOUT:
        return LineStyle(*((b"\x1b[36m", b":\x1b[0m ") if named else (b"", b"")), neutralised=not raw, named=named)
    return LineStyle(b"\x1b[31m", b": ", b"\x1b[0m", neutralised=not raw, named=named)
