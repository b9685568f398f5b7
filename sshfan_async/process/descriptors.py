"""The process's descriptors, shared out among all runs in it, whatever thread they are in."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import sys
import threading
from collections import deque
from dataclasses import dataclass

import anyio

__all__ = ["BUDGET", "DescriptorBudget", "enlarge_table"]

_RESERVE = 32
"""Descriptors left for the application beside its open ones, and for the moment of a spawn."""


class DescriptorBudget:
    """Counts the descriptors that children take, within the soft RLIMIT_NOFILE (getrlimit(2)).

    One per process, `BUDGET`: the limit is the process's. Safe to use from several event loops in several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leased = 0
        self._waiters: deque[_Waiter] = deque()

    def room(self) -> int:
        """Return how many descriptors children could hold together at this moment, those held now included."""
        with self._lock:
            application = max(0, _open_descriptors() - self._leased)
        return max(0, _limit() - application - _RESERVE)

    async def lease(self, count: int, room: int) -> None:
        """Take `count` descriptors, waiting in turn while others hold so many that `room` would be exceeded.

        Whose turn it is gets them in any case where nobody holds any: one child at a time always goes.
        """
        with self._lock:
            if not self._waiters and self._fits(count, room):
                self._leased += count
                return
            waiter = _Waiter(asyncio.get_running_loop(), asyncio.Event(), count, room)
            self._waiters.append(waiter)
        try:
            await waiter.served.wait()
        except BaseException:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    self._leased -= count
                self._serve()
            raise

    def release(self, count: int) -> None:
        """Give `count` descriptors back."""
        with self._lock:
            self._leased -= count
            self._serve()

    def _fits(self, count: int, room: int) -> bool:
        return self._leased == 0 or self._leased + count <= room

    def _serve(self) -> None:
        """Give those whose turn it is what they wait for; only with the lock held."""
        while self._waiters and self._fits(self._waiters[0].count, self._waiters[0].room):
            waiter = self._waiters.popleft()
            # A loop that was closed meanwhile has nobody waiting in it.
            with contextlib.suppress(RuntimeError):
                waiter.loop.call_soon_threadsafe(waiter.served.set)
                self._leased += waiter.count


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    served: asyncio.Event
    count: int
    room: int


async def enlarge_table(count: int) -> None:
    """Have the kernel make room in this process's table of descriptors for `count` more, without blocking the loop.

    Linux enlarges the table when a descriptor does not fit, to twice its size, and in a process with threads waits
    for an RCU grace period each time: 10 to 30 ms, in the middle of a pipe(2) (fs/file.c: expand_fdtable). Once
    large, it stays.
    """
    wanted = min(_open_descriptors() + count + _RESERVE, _limit()) - 1
    if sys.platform == "linux" and wanted >= _table_size():
        await anyio.to_thread.run_sync(_take_and_leave, wanted)


def _take_and_leave(number: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        # Where it cannot be, a pipe waits later.
        with contextlib.suppress(OSError):
            os.close(fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, number))
    finally:
        os.close(null)


def _table_size() -> int:
    """Return how many descriptors the table has room for (proc(5): FDSize); 0 where nobody knows."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("FDSize:"):
                return int(line.split()[1])
    return 0


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def _open_descriptors() -> int:
    for directory in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(directory))
    return 0


BUDGET = DescriptorBudget()
