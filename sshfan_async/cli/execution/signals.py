"""SIGINT, SIGTERM and SIGHUP as a request to end early and show what there is; a first Ctrl-C as a question."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, Self

__all__ = ["StopSignals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 1.0
"""Seconds within which a second Ctrl-C ends the run, as in pdsh."""


class StopSignals:
    """In the block, the first of the signals calls `stop` and is kept in `received`; the others change nothing.

    Where `asks`, a SIGINT only sets `asked`, and the next within a second is the one that stops. A signal that our
    caller had us ignore (nohup, a shell's background job) stays ignored.
    """

    def __init__(self, stop: Callable[[], None], *, asks: bool) -> None:
        self.received: signal.Signals | None = None
        self.asked = False
        """Whether somebody wants to know what is running; whoever answers sets it back."""
        self.raises = False
        """Whether a SIGINT is a KeyboardInterrupt: nothing runs any more, and what is shown may find no reader."""
        self._stop = stop
        self._asks = asks
        self._asked_at = -_AGAIN
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.raises:
            raise KeyboardInterrupt
        if number == signal.SIGINT and self._asks and self.received is None:
            now = time.monotonic()
            again, self._asked_at = now - self._asked_at <= _AGAIN, now
            if not again:
                self.asked = True
                return
        if self.received is None:
            self.received = signal.Signals(number)
        self._stop()
