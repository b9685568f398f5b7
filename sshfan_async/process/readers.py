"""The pipes of a run's children, watched through one epoll that the event loop watches in turn.

Three pipes a host make thousands of them. Through the loop itself each costs 450 bytes and a handle; and the loop
takes all that are ready in one turn, however long that turn becomes. Here each costs its entry in a dict, and a turn
ends after a bounded number. epoll(7) is Linux's; elsewhere the loop's own readers serve.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["Readable", "Readers", "make_readers"]

_A_TURN = 32
"""Pipes read in one turn of the loop; those left are found ready in the next."""


class Readable(Protocol):
    """Who reads a descriptor."""

    def read_ready(self, descriptor: int) -> None:
        """`descriptor` can be read."""
        ...


class Readers:
    """Tells when a descriptor can be read, through the event loop's own readers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, descriptor: int, reader: Readable) -> None:
        """Tell `reader` in every turn in which `descriptor` can be read."""
        self._loop.add_reader(descriptor, reader.read_ready, descriptor)

    def remove(self, descriptor: int) -> None:
        """Tell no more; harmless where nobody asked to be told. Due before the descriptor is closed."""
        self._loop.remove_reader(descriptor)

    def close(self) -> None:
        """Give back what it holds."""


if sys.platform == "linux":

    class _EpollReaders(Readers):
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(loop)
            self._readers: dict[int, Readable] = {}
            self._epoll = select.epoll()
            loop.add_reader(self._epoll.fileno(), self._ready)

        def add(self, descriptor: int, reader: Readable) -> None:
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
            for descriptor, _ in self._epoll.poll(0, _A_TURN):
                reader = self._readers.get(descriptor)
                if reader is not None:
                    reader.read_ready(descriptor)


def make_readers(loop: asyncio.AbstractEventLoop) -> Readers:
    """Return the best that this platform has; `loop` is the running one.

    Raises:
        OSError: out of descriptors.

    """
    return _EpollReaders(loop) if sys.platform == "linux" else Readers(loop)
