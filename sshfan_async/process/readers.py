"""Watches the pipes of a run's children. On Linux, through one epoll(7) that the event loop watches.

A run has three pipes for each host, so thousands of them. If the loop watched them itself, each would need a handle
and 450 bytes, and the loop would read all ready pipes in one turn, however long that takes. Here, a turn reads a
limited number.
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

    def remove(self, descriptor: int) -> None:
        """Stop watching `descriptor`, if it is watched. Call this before you close it."""
        self._loop.remove_reader(descriptor)

    def close(self) -> None:
        """Free the resources."""


if sys.platform == "linux":

    class _EpollReaders(Readers):
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(loop)
            self._readers: dict[int, Reader] = {}
            self._epoll = select.epoll()
            loop.add_reader(self._epoll.fileno(), self._ready)

        def add(self, descriptor: int, reader: Reader) -> None:
            if descriptor not in self._readers:
                self._epoll.register(descriptor, select.EPOLLIN)
            self._readers[descriptor] = reader

        def remove(self, descriptor: int) -> None:
            if self._readers.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)

        def close(self) -> None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

        def _ready(self) -> None:
            for descriptor, _ in self._epoll.poll(0, _MOST_AT_ONCE):
                reader = self._readers.get(descriptor)
                if reader is not None:
                    reader.read_ready(descriptor)


def make_readers(loop: asyncio.AbstractEventLoop) -> Readers:
    """Return the best readers for this platform. `loop`: the running event loop.

    Raises:
        OSError: there are no descriptors left.

    """
    # gevent and eventlet take `epoll` out of `select` (monkey.patch_all).
    return _EpollReaders(loop) if sys.platform == "linux" and hasattr(select, "epoll") else Readers(loop)
