"""A heartbeat in an event loop: how late each beat comes is how long the loop stalled."""

from __future__ import annotations

import asyncio
import os
import tracemalloc

__all__ = ["Heartbeat", "resident"]

_PERIOD = 0.001
_MEMORY_EVERY = 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return this process's resident memory in bytes (proc(5): statm)."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE


class Heartbeat:
    """Beats every millisecond between `start` and `stop`; keeps each beat's lateness and the memory's peak."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.peak = 0
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._due = self._loop.time() + _PERIOD
        self._timer = self._loop.call_at(self._due, self._beat)

    def stop(self) -> None:
        assert self._timer is not None
        self._timer.cancel()
        self._keep()

    def _beat(self) -> None:
        self._keep()
        if self._count % _MEMORY_EVERY == 0:
            held = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else resident()
            self.peak = max(self.peak, held)
        self._count += 1
        self.start()

    def _keep(self) -> None:
        self.late.append(max(0.0, self._loop.time() - self._due))

    @property
    def longest(self) -> float:
        return max(self.late)

    @property
    def p99(self) -> float:
        return sorted(self.late)[max(0, -(-len(self.late) * 99 // 100) - 1)]
