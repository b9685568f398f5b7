"""`PerLoop`: one object for each event loop, made when it is first asked for, and dropped with the loop.

anyio's `RunVar` does this too, but its first use imports anyio's asyncio backend. That takes 20 ms, a fifth of what
`sshfan` adds to one ssh.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

__all__ = ["PerLoop"]


class PerLoop(threading.local, Generic[T]):
    """The objects of the loops of this thread, because a WeakKeyDictionary must not be shared with other threads."""

    def __init__(self, create: Callable[[], T]) -> None:
        """`create` makes the object of a loop. It is called in that loop."""
        self._create = create
        self._objects: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """Return the object of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._objects.get(loop)
        if found is None:
            found = self._objects[loop] = self._create()
        return found
