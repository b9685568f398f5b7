"""Paces spawns: one per turn of the event loop, a pause after a slow one, and a wait if the machine has no room.

A spawn blocks the loop until the child has called exec (vfork(2); python/cpython#146181): 0.3 ms on an idle machine.
If more processes want to run than there are CPUs, the new one waits 10 to 50 ms for a CPU, and the loop waits with
it. Another spawn at once would only lengthen that queue. The CPUs have enough to do meanwhile, so a pause costs a run
little: 1 % with 120 hosts on two CPUs.
"""

from __future__ import annotations

import asyncio
import errno
import math
import time
from typing import TYPE_CHECKING, TypeVar

from sshfan_async.loop.per_loop import PerLoop

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHORTAGES", "SpawnGate", "spawn_gate"]

T = TypeVar("T")

SHORTAGES = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say that this machine has no process, descriptor or memory left at the moment (fork(2), pipe(2))."""

_SLOW = 0.003
"""Seconds that a spawn takes on an idle machine too, if this process has thousands of descriptors."""
_PAUSE = 1.0
"""The pause lasts this many times as long as the spawn took beyond `_SLOW`. With real ssh on two CPUs, the loop's p99
stall is 32 ms without a pause, 20 ms with this one, and 16 ms with twice that, which costs a run 3 % more time."""

_PATIENCE = 10.0
"""Seconds of a shortage after which a spawn fails, if no command of ours is running, whose end would help."""
_FIRST_WAIT = 0.05
_LONGEST_WAIT = 1.0
"""Seconds between two tries during a shortage, doubled after each; the end of a command ends the wait."""


class SpawnGate:
    """The gate of one event loop; get it from `spawn_gate`. Start children with `start`."""

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        """Locked in the turn in which a child is started, during a pause and during a shortage. To start a child and
        wait for it, hold this lock yourself, and use `start_alone`."""
        self._waiting = 0
        self._commands = 0
        self._stalled = 0.0
        self._short_since: float | None = None
        self._wait: asyncio.Future[None] | None = None

    async def start(
        self, spawn: Callable[[], T], *, until: float = math.inf, short: Callable[[OSError], None] | None = None
    ) -> T:
        """Call `spawn` when its turn has come, and return its result.

        If it fails for a shortage, call it again when a command of ours has ended, and from time to time: being short
        here says nothing about the host. `short` is told the first such error.

        Raises:
            OSError: `spawn` fails, and waiting does not help.
            TimeoutError: the shortage lasts until `until`, in monotonic seconds.

        """
        self._waiting += 1
        try:
            await self.alone.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self.start_alone(spawn, until=until, short=short)
        finally:
            self._release()

    async def start_alone(
        self, spawn: Callable[[], T], *, until: float = math.inf, short: Callable[[OSError], None] | None = None
    ) -> T:
        """Do as `start` does, for a caller who holds `alone`."""
        wait, errors = _FIRST_WAIT, 0
        while True:
            began, worked = time.monotonic(), time.thread_time()
            try:
                result = spawn()
                self._short_since = None
                return result
            except OSError as error:
                shortage = error
            finally:
                self._stalled = time.monotonic() - began - (time.thread_time() - worked)
            if shortage.errno not in SHORTAGES:
                raise shortage
            errors += 1
            if errors == 1 and short is not None:
                short(shortage)
            await self._relief(shortage, wait, until)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _relief(self, error: OSError, wait: float, until: float) -> None:
        """Wait for the end of a command of ours, for at most `wait` seconds.

        Raises:
            OSError: `error`, if waiting does not help.
            TimeoutError: `until` is reached.

        """
        now = time.monotonic()
        if self._short_since is None:
            self._short_since = now
        if now >= until:
            raise TimeoutError from error
        if self._commands == 0 and now - self._short_since >= _PATIENCE:
            raise error
        self._wait = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait([self._wait], timeout=min(wait, until - now))
        finally:
            self._wait = None

    def command_started(self) -> None:
        """Note a child that runs a command: its end frees a process and descriptors."""
        self._commands += 1

    def command_ended(self) -> None:
        """Note the end of such a child."""
        self._commands -= 1
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    async def cleared(self) -> None:
        """Wait until all tasks that are waiting now have had their turn."""
        if self._waiting > 0 or self._short_since is not None:
            async with self.alone:
                pass

    def _release(self) -> None:
        loop = asyncio.get_running_loop()
        if self._stalled > _SLOW:
            loop.call_later(_PAUSE * (self._stalled - _SLOW), self.alone.release)
        else:
            loop.call_soon(self.alone.release)


_gates = PerLoop(SpawnGate)


def spawn_gate() -> SpawnGate:
    """Return the gate of the running loop."""
    return _gates.get()
