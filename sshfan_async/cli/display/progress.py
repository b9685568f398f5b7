"""The progress display: a bar, counts by status, and the hosts that are running, in two lines."""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.control import Control
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from sshfan_async.cli.display.fold import folded
from sshfan_async.cli.display.statuses import STYLES, status_name
from sshfan_async.cli.output import STDERR
from sshfan_async.outcome import Status

if TYPE_CHECKING:
    from sshfan_async.cli.display.in_flight import InFlight

__all__ = ["Progress"]

_PERIOD = 0.1
"""Seconds between two redraws."""
_WIDEST_BAR = 24
_FOLDED = 64
"""How many running hosts are named: to fold 64 unordered addresses takes 12 ms, 256 take 300 ms."""


class Progress:
    """Makes the bytes that draw and erase the state of a run on a terminal."""

    def __init__(self, console: Console, state: InFlight) -> None:
        self._console = console
        self._state = state
        self._height = 0
        self._drawn_at = 0.0
        self._names: tuple[str, ...] = ()
        self._node_set = ""

    @property
    def is_stale(self) -> bool:
        """Whether the progress must be drawn again."""
        return time.monotonic() - self._drawn_at >= _PERIOD

    def draw(self) -> bytes:
        """Return the bytes that replace the last drawing; none if we run in the background."""
        self._drawn_at = time.monotonic()
        if not _in_foreground():
            self._height = 0
            return b""
        erasure = self._erasure()
        picture = Group(self._bar(), self._running_hosts())
        self._height = len(self._console.render_lines(picture, pad=False))
        with self._console.capture() as captured:
            self._console.control(*erasure)
            self._console.print(picture)
        return captured.get().encode("utf-8", "backslashreplace")

    def erase(self) -> bytes:
        """Return the bytes that erase the last drawing; none if we run in the background."""
        if not _in_foreground():
            self._height = 0
        with self._console.capture() as captured:
            self._console.control(*self._erasure())
        self._height = 0
        return captured.get().encode()

    def _erasure(self) -> list[Control]:
        if self._height == 0:
            return []
        # The cursor is on the line below. The terminal echoes `^C` there too.
        line = (ControlType.ERASE_IN_LINE, 2)
        up = ((ControlType.CURSOR_UP, 1), line)
        return [Control(ControlType.CARRIAGE_RETURN, line, *(up * self._height))]

    def _bar(self) -> Table:
        state = self._state
        done = state.ended.total()
        counts = Text(f"{done}/{state.total}", no_wrap=True, overflow="ellipsis")
        for status in Status:
            if state.ended[status]:
                counts.append(f"  {state.ended[status]} {status_name(status)}", STYLES[status])
        bar = Table.grid(padding=(0, 1))
        width = min(_WIDEST_BAR, self._console.width // 4)
        bar.add_row(
            ProgressBar(total=state.total, completed=done, width=width),
            counts,
            Text(f"{time.monotonic() - state.began:.1f} s", style="dim", no_wrap=True),
        )
        return bar

    def _running_hosts(self) -> Text:
        running = self._state.running
        more = ",…" if len(running) > _FOLDED else ""
        names = tuple(islice(running, _FOLDED))
        if names != self._names:
            self._names, self._node_set = names, folded(names)
        return Text(f"{len(running)} running: {self._node_set}{more}", style="dim", no_wrap=True, overflow="ellipsis")


def _in_foreground() -> bool:
    """Return whether we may draw: a background job would draw over the shell's prompt."""
    try:
        return os.tcgetpgrp(STDERR) == os.getpgrp()
    except OSError:  # not our controlling terminal: no job control on it
        return True
