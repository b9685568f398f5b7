"""SIGINT, SIGTERM, SIGHUP and SIGQUIT end the program in order, with 128 + the number of the first one.

A run ends its hosts and shows the results; a first Ctrl-C only shows what is running.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Self

__all__ = ["InterruptSignals", "StopSignals", "leave_with"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_SECOND_CTRL_C_WITHIN = 1.0
"""Seconds within which a second Ctrl-C stops the run, as in pdsh."""


class StopSignals:
    """Calls `stop` when a signal arrives in the `with` block. `received` is the first signal that did so.

    With `first_ctrl_c_asks`, a SIGINT only sets `status_wanted`; another one within a second stops the run. A signal
    that our caller ignores (nohup, a background job of a shell) stays ignored. After the block, a signal raises
    KeyboardInterrupt with the number of the first one.
    """

    def __init__(self, stop: Callable[[], None], *, first_ctrl_c_asks: bool) -> None:
        self.received: signal.Signals | None = None
        self.status_wanted = False
        """Whether to show what is running. The code that shows it resets this."""
        self.nothing_runs = False
        """Whether a signal raises KeyboardInterrupt. Set when nothing runs any more, but a write may still block."""
        self._raised = False
        self._stop = stop
        self._first_ctrl_c_asks = first_ctrl_c_asks
        self._asked_at = -_SECOND_CTRL_C_WITHIN

    def __enter__(self) -> Self:
        _handle_with(self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.nothing_runs = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.nothing_runs:
            self.received = self.received or signal.Signals(number)
            if self._raised:  # what cleans up after the first one is blocked, or a weakref callback has swallowed it
                os._exit(128 + self.received)
            self._raised = True
            raise KeyboardInterrupt(self.received)
        if number == signal.SIGINT and self._first_ctrl_c_asks and self.received is None:
            now = time.monotonic()
            is_second, self._asked_at = now - self._asked_at <= _SECOND_CTRL_C_WITHIN, now
            if not is_second:
                self.status_wanted = True
                return
        if self.received is None:
            self.received = signal.Signals(number)
        self._stop()


class InterruptSignals:
    """Raises KeyboardInterrupt for the first SIGTERM, SIGHUP or SIGQUIT, and for each SIGINT before it.

    `received` is the first of them that is not SIGINT. Later signals are ignored: the program is ending.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def install(self) -> None:
        """Handle the signals from now on, except those that our caller ignores."""
        _handle_with(self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            if number != signal.SIGINT:
                self.received = signal.Signals(number)
            raise KeyboardInterrupt


def leave_with(code: int) -> None:
    """Make sure that the process ends with `code` if that stands for a signal: the interpreter takes 20 ms to end.

    With any other code, a signal ends the process until the last moment.
    """
    _handle_with(signal.SIG_IGN if code - 128 in _SIGNALS else signal.SIG_DFL)


def _handle_with(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
