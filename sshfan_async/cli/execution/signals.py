"""SIGINT, SIGTERM and SIGHUP: stop the run and show the results; a first Ctrl-C only shows what is running."""

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
_SECOND_CTRL_C_WITHIN = 1.0
"""Seconds within which a second Ctrl-C stops the run, as in pdsh."""


class StopSignals:
    """Calls `stop` when a signal arrives in the `with` block. `received` is the first signal that did so.

    With `first_ctrl_c_asks`, a SIGINT only sets `status_wanted`; another one within a second stops the run. A signal
    that our caller ignores (nohup, a background job of a shell) stays ignored.
    """

    def __init__(self, stop: Callable[[], None], *, first_ctrl_c_asks: bool) -> None:
        self.received: signal.Signals | None = None
        self.status_wanted = False
        """Whether to show what is running. The code that shows it resets this."""
        self.interrupt_raises = False
        """Whether a SIGINT raises KeyboardInterrupt. Set when nothing runs any more, but a write may still block."""
        self._stop = stop
        self._first_ctrl_c_asks = first_ctrl_c_asks
        self._asked_at = -_SECOND_CTRL_C_WITHIN
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
        if number == signal.SIGINT and self.interrupt_raises:
            raise KeyboardInterrupt
        if number == signal.SIGINT and self._first_ctrl_c_asks and self.received is None:
            now = time.monotonic()
            is_second, self._asked_at = now - self._asked_at <= _SECOND_CTRL_C_WITHIN, now
            if not is_second:
                self.status_wanted = True
                return
        if self.received is None:
            self.received = signal.Signals(number)
        self._stop()
