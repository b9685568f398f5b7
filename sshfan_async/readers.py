"""The pipes of a run's children, watched through one epoll that the event loop watches in turn.

Three pipes a host make thousands of them. Through the loop itself each costs 450 bytes and a handle; and the loop
takes all that are ready in one turn, however long that turn becomes. Here each costs its entry in a dict, and a turn
ends after a bounded number. epoll(7) is Linux's; elsewhere the loop's own readers serve.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Readers", "make_readers"]

_A_TURN = 32
"""Pipes read in one turn of the loop; those left are found ready in the next."""


class Readers:
    """Calls back when a descriptor can be read, through the event loop's own readers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call `callback` in every turn in which `descriptor` can be read, in place of an earlier callback."""
        self._loop.add_reader(descriptor, callback)

    def remove(self, descriptor: int) -> None:
        """Call back no more; harmless where nobody asked to. Due before the descriptor is closed."""
        self._loop.remove_reader(descriptor)

    def close(self) -> None:
        """Give back what it holds."""


if sys.platform == "linux":

    class _EpollReaders(Readers):
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(loop)
            self._callbacks: dict[int, Callable[[], None]] = {}
            self._epoll = select.epoll()
            loop.add_reader(self._epoll.fileno(), self._ready)

        def add(self, descriptor: int, callback: Callable[[], None]) -> None:
            if descriptor not in self._callbacks:
                self._epoll.register(descriptor, select.EPOLLIN)
            self._callbacks[descriptor] = callback

        def remove(self, descriptor: int) -> None:
            if self._callbacks.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)

        def close(self) -> None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

        def _ready(self) -> None:
            for descriptor, _ in self._epoll.poll(0, _A_TURN):
                callback = self._callbacks.get(descriptor)
                if callback is not None:
                    callback()


def make_readers(loop: asyncio.AbstractEventLoop) -> Readers:
    """Return the best that this platform has; `loop` is the running one.

    Raises:
        OSError: out of descriptors.

    """
    return _EpollReaders(loop) if sys.platform == "linux" else Readers(loop)
