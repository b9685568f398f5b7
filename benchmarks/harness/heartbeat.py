"""Measure stalls of an event loop with a timer: a late beat is a stall."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import tracemalloc

__all__ = ["Heartbeat", "Turns", "resident"]

_PERIOD = 0.001
_MEMORY_EVERY = 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return this process's resident memory in bytes (proc(5): statm)."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE


class Heartbeat:
    """Beat every millisecond between `start` and `stop`.

    Records how late each beat is, the peak of the memory, and the longest pause of the garbage collector.
    """

    def __init__(self) -> None:
        self.late: list[float] = []
        self.peak = 0
        self.collecting = 0.0
        self._collection_began = 0.0
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        gc.callbacks.append(self._collected)
        self._next()

    def stop(self) -> None:
        assert self._timer is not None
        self._timer.cancel()
        self._keep()
        gc.callbacks.remove(self._collected)

    def _next(self) -> None:
        # The clock of uvloop has whole milliseconds and does not advance within a turn of the loop.
        self._due = time.monotonic() + _PERIOD
        self._timer = self._loop.call_later(_PERIOD, self._beat)

    def _beat(self) -> None:
        self._keep()
        if self._count % _MEMORY_EVERY == 0:
            held = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else resident()
            self.peak = max(self.peak, held)
        self._count += 1
        self._next()

    def _keep(self) -> None:
        self.late.append(max(0.0, time.monotonic() - self._due))

    def _collected(self, phase: str, _: object) -> None:
        now = time.monotonic()
        if phase == "start":
            self._collection_began = now
        else:
            self.collecting = max(self.collecting, now - self._collection_began)

    @property
    def longest(self) -> float:
        return max(self.late)

    @property
    def p99(self) -> float:
        return sorted(self.late)[max(0, -(-len(self.late) * 99 // 100) - 1)]


class Turns:
    """Measure the most CPU that this thread uses between two beats.

    This is our own part of a stall: servers on the same machine cause stalls too.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._loop = asyncio.get_running_loop()
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._last = time.thread_time()
        self._timer = self._loop.call_later(_PERIOD, self._beat)

    def stop(self) -> None:
        assert self._timer is not None
        self._timer.cancel()

    def _beat(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self.start()
