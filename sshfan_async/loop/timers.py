"""Calls functions at given times. All of a run share one timer of the event loop.

asyncio's own timers are compared in Python, in a heap of all timers of the loop. Here the heap holds tuples, which
are compared in C. Most timers of a run are cancelled long before they are due.
"""

from __future__ import annotations

import asyncio
import math
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Alarm", "Timer", "Timers"]

_SPARE = 64
"""Cancelled timers stay in the heap until there are more of them than this, and more than others."""


class Timer:
    """A call to come, made by `Timers`."""

    __slots__ = ("_timers", "callback", "when")

    def __init__(self, timers: Timers, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        """The time of the call, on the loop's clock (monotonic seconds)."""
        self.callback: Callable[[], object] | None = callback
        """None if the call has been made, or was cancelled."""
        self._timers = timers

    def cancel(self) -> None:
        """Do not make the call."""
        if self.callback is not None:
            self.callback = None
            self._timers.note_cancelled()


class Timers:
    """The timers of one run or fleet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """`loop`: the event loop that makes the calls."""
        self._loop = loop
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = 0
        self._cancelled = 0
        self._next: asyncio.TimerHandle | None = None

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` at `when`, on the loop's clock. An exception in it goes to the loop's exception handler."""
        timer = Timer(self, when, callback)
        self._serial += 1
        heappush(self._heap, (when, self._serial, timer))
        if self._next is None or when < self._next.when():
            self._wait_for_first()
        return timer

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in so many `seconds`."""
        return self.call_at(self._loop.time() + seconds, callback)

    def note_cancelled(self) -> None:
        """Drop the cancelled timers if they are too many."""
        self._cancelled += 1
        if self._cancelled > _SPARE and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapify(self._heap)
            self._cancelled = 0
            self._wait_for_first()

    def _wait_for_first(self) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self._loop.call_at(self._heap[0][0], self._call_due) if self._heap else None

    def _call_due(self) -> None:
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
                continue
            try:
                callback()
            except Exception as error:
                self._loop.call_exception_handler({"message": f"the timer {callback!r} failed", "exception": error})
        self._next = None
        self._wait_for_first()


class Alarm:
    """One timer of the event loop, which calls `ring` at the earliest time that it was set for."""

    __slots__ = ("_ring", "_timer")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether `ring` will be called."""
        return self._timer is not None

    def set(self, at: float) -> None:
        """Call `ring` at `at`, in seconds of the loop's clock, unless it is called earlier; infinity for never."""
        if at == math.inf or (self._timer is not None and self._timer.when() <= at):
            return
        self.stop()
        self._timer = asyncio.get_running_loop().call_at(at, self._fire)

    def stop(self) -> None:
        """Do not call `ring`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._ring()
