"""`Screen`: queue output for stdout and stderr, and write it in order around the progress display."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sshfan_async.cli.display.lines import LineStyle
from sshfan_async.cli.output import STDERR, STDOUT, write

if TYPE_CHECKING:
    from rich.console import Console

    from sshfan_async.cli.display.progress import Progress

__all__ = ["Screen", "line_style"]

_MOST_QUEUED = 1024 * 1024
"""Bytes in the queue at which it is written at once, so that it does not fill our memory."""


class Screen:
    """Queues bytes for stdout and stderr. The progress, if any, is erased before they are written."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._queue: list[tuple[int, list[bytes]]] = []
        self._size = 0

    def add(self, descriptor: int, data: bytes) -> None:
        """Queue `data` for `descriptor`. Write the queue if it has become long."""
        if not data:
            return
        if self._queue and self._queue[-1][0] == descriptor:
            self._queue[-1][1].append(data)
        else:
            self._queue.append((descriptor, [data]))
        self._size += len(data)
        if self._size > _MOST_QUEUED:
            self.flush()

    def refresh(self) -> None:
        """Write the queue: at once, or if there is a progress, as often as that is redrawn."""
        if self._progress is None:
            self._write()
        elif self._progress.is_stale:
            if self._queue:
                self.flush()
            write(STDERR, self._progress.draw())

    def flush(self) -> None:
        """Erase the progress and write the queue."""
        if self._progress is not None:
            write(STDERR, self._progress.erase())
        self._write()

    def _write(self) -> None:
        queue, self._queue, self._size = self._queue, [], 0
        for descriptor, chunks in queue:
            write(descriptor, b"".join(chunks))


def line_style(descriptor: int, console: Console, *, prefixed: bool, raw: bool) -> LineStyle:
    """Return the style of a host's lines on `descriptor`, with colours if `console` has them."""
    if not os.isatty(descriptor):
        return LineStyle(prefixed=prefixed)
    if console.no_color or console.color_system is None:
        return LineStyle(prefixed=prefixed, escapes=not raw)
    if descriptor == STDOUT:
        name_colours = (b"\x1b[36m", b":\x1b[0m ") if prefixed else (b"", b"")
        return LineStyle(*name_colours, escapes=not raw, prefixed=prefixed)
    return LineStyle(b"\x1b[31m", b": ", b"\x1b[0m", escapes=not raw, prefixed=prefixed)
