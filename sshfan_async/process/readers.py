"""Watches the pipes of a run's children. On Linux, through one epoll(7) that the event loop watches.

A run has three pipes for each host, so thousands of them. If the loop watched them itself, each would need a handle
and 450 bytes, and the loop would read all ready pipes in one turn, however long that takes. Here, a turn reads a
limited number. And while a run is busy, the loop is not woken for each piece of a log, but reads the pipes at regular
times. The pidfds of the children are watched through another epoll, which always wakes the loop: an exit is timed.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["Reader", "Readers", "make_readers"]

_MOST_AT_ONCE = 32
"""The most pipes that are read in one turn of the loop; the others follow in the next turns."""

_MANY = 16
"""A run with fewer pipes is never busy: it has few hosts, and each is told of its end at once."""
_PAUSE = 0.003
"""Seconds between two looks at the pipes of a busy run, and so how late a line of a log can be read. A run is busy if
it would wake the loop more often. Each wake-up takes the CPU from an ssh that is at work: 5 % of a run's time."""


class Reader(Protocol):
    """An object that reads descriptors when they are readable."""

    def read_ready(self, descriptor: int) -> None:
        """Read `descriptor`, which is readable."""
        ...


class Readers:
    """Calls a reader when its descriptor is readable. This one uses the event loop's own readers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, descriptor: int, reader: Reader) -> None:
        """Call `reader.read_ready` in every turn of the loop in which `descriptor` is readable."""
        self._loop.add_reader(descriptor, reader.read_ready, descriptor)

    def add_exit(self, pidfd: int, reader: Reader) -> None:
        """Do as `add` does, for the pidfd of a child. Even in a busy run, the reader is called without delay."""
        self.add(pidfd, reader)

    def remove(self, descriptor: int) -> None:
        """Stop watching `descriptor`, if it is watched. Call this before you close it."""
        self._loop.remove_reader(descriptor)

    def close(self) -> None:
        """Free the resources."""


if sys.platform == "linux":

    class _Epoll:
        """An epoll object, and the readers of the descriptors in it."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.readers: dict[int, Reader] = {}
            self.fileno = self._epoll.fileno
            self.close = self._epoll.close

        def add(self, descriptor: int, reader: Reader) -> None:
            if descriptor not in self.readers:
                self._epoll.register(descriptor, select.EPOLLIN)
            self.readers[descriptor] = reader

        def remove(self, descriptor: int) -> None:
            if self.readers.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)

        def read(self) -> int:
            """Call the readers of the readable descriptors, and return how many there were."""
            readable = self._epoll.poll(0, _MOST_AT_ONCE)
            for descriptor, _ in readable:
                reader = self.readers.get(descriptor)
                if reader is not None:
                    reader.read_ready(descriptor)
            return len(readable)

    class _EpollReaders(Readers):
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(loop)
            self._pipes, self._exits = _Epoll(), _Epoll()
            self._woken_at = 0.0
            self._next_look: asyncio.TimerHandle | None = None
            loop.add_reader(self._pipes.fileno(), self._wake)
            loop.add_reader(self._exits.fileno(), self._exits.read)

        def add(self, descriptor: int, reader: Reader) -> None:
            self._pipes.add(descriptor, reader)

        def add_exit(self, pidfd: int, reader: Reader) -> None:
            self._exits.add(pidfd, reader)

        def remove(self, descriptor: int) -> None:
            self._pipes.remove(descriptor)
            self._exits.remove(descriptor)

        def close(self) -> None:
            if self._next_look is not None:
                self._next_look.cancel()
            for each in (self._pipes, self._exits):
                self._loop.remove_reader(each.fileno())
                each.close()

        def _wake(self) -> None:
            woken_at, self._woken_at = self._woken_at, self._loop.time()
            self._pipes.read()
            if len(self._pipes.readers) >= _MANY and self._woken_at - woken_at < _PAUSE:
                self._loop.remove_reader(self._pipes.fileno())
                self._next_look = self._loop.call_later(_PAUSE, self._look)

        def _look(self) -> None:
            if self._pipes.read() > 0:
                self._next_look = self._loop.call_later(_PAUSE, self._look)
            else:
                self._next_look = None
                self._loop.add_reader(self._pipes.fileno(), self._wake)


def make_readers(loop: asyncio.AbstractEventLoop) -> Readers:
    """Return the best readers for this platform. `loop`: the running event loop.

    Raises:
        OSError: there are no descriptors left.

    """
    # gevent and eventlet take `epoll` out of `select` (monkey.patch_all).
    return _EpollReaders(loop) if sys.platform == "linux" and hasattr(select, "epoll") else Readers(loop)
