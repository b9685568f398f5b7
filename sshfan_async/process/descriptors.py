"""Shares this process's file descriptors among its runs, in all threads."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import sys
import threading
from collections import deque

from sshfan_async.loop.loops import in_thread

__all__ = ["BUDGET", "DescriptorBudget", "enlarge_table"]

_RESERVE = 32
"""Descriptors kept free for the application, and for the few that a spawn needs for a moment."""


class DescriptorBudget:
    """Counts the descriptors that are leased for children, within the soft RLIMIT_NOFILE (getrlimit(2)).

    The limit is one for the whole process, so all runs use `BUDGET`. Safe in several event loops and threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leased = 0
        self._waiters: deque[_Waiter] = deque()

    def room(self) -> int:
        """Return how many descriptors all children together can have now, including those leased already."""
        with self._lock:
            application = max(0, _open_descriptors() - self._leased)
        return max(0, _limit() - application - _RESERVE)

    async def lease(self, count: int, room: int) -> None:
        """Lease `count` descriptors; wait in a queue as long as more than `room` would be leased.

        The first waiter is always served if nothing is leased, so one child can always run.
        """
        with self._lock:
            if not self._waiters and self._fits(count, room):
                self._leased += count
                return
            waiter = _Waiter(asyncio.get_running_loop(), count, room)
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
        """End the lease of `count` descriptors."""
        with self._lock:
            self._leased -= count
            self._serve()

    def _fits(self, count: int, room: int) -> bool:
        return self._leased == 0 or self._leased + count <= room

    def _serve(self) -> None:
        """Serve the first waiters, as far as there is room. The caller must hold the lock."""
        while self._waiters and self._fits(self._waiters[0].count, self._waiters[0].room):
            waiter = self._waiters.popleft()
            # RuntimeError: the loop was closed, so nobody waits in it.
            with contextlib.suppress(RuntimeError):
                waiter.loop.call_soon_threadsafe(waiter.served.set)
                self._leased += waiter.count


class _Waiter:
    __slots__ = ("count", "loop", "room", "served")

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int, room: int) -> None:
        self.loop = loop
        self.served = asyncio.Event()
        self.count = count
        self.room = room


async def enlarge_table(count: int) -> None:
    """Enlarge the kernel's table of this process's descriptors for `count` more, without blocking the loop.

    Linux doubles the table when a descriptor does not fit. In a process with threads it waits for an RCU grace period
    each time: 10 to 30 ms inside a pipe(2) (fs/file.c: expand_fdtable). The table never shrinks.
    """
    highest = min(_open_descriptors() + count + _RESERVE, _limit()) - 1
    if sys.platform == "linux" and highest >= _table_size():
        await in_thread(_open_and_close, highest)


def _open_and_close(number: int) -> None:
    """Open a descriptor that is at least `number`, and close it. If that fails, pipe(2) blocks the loop later."""
    with contextlib.suppress(OSError), open(os.devnull, "rb") as null:
        os.close(fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, number))


def _table_size() -> int:
    """Return how many descriptors the table has room for (proc(5): FDSize); 0 if that is not known."""
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
