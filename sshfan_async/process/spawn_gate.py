"""Paces spawns: one per turn of the event loop, and a pause after a slow one.

A spawn blocks the loop until the child has called exec (vfork(2); python/cpython#146181): 0.3 ms on an idle machine.
If more processes want to run than there are CPUs, the new one waits 10 to 50 ms for a CPU, and the loop waits with
it. Another spawn at once would only lengthen that queue. The CPUs have enough to do meanwhile, so a pause costs a run
little: 1 to 4 % with 200 hosts on two CPUs.
"""

from __future__ import annotations

import asyncio
import time

from anyio.lowlevel import RunVar

__all__ = ["SpawnGate", "spawn_gate"]

_SLOW = 0.003
"""Seconds that a spawn takes on an idle machine too, if this process has thousands of descriptors."""
_PAUSE = 2.0
"""The pause lasts this many times as long as the spawn took beyond `_SLOW`."""

_gates: RunVar[SpawnGate] = RunVar("sshfan_async.spawn_gate")


class SpawnGate:
    """The gate of one event loop; get it from `spawn_gate`.

    Start one child inside `async with`, and do not await there.
    """

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        """Locked in the turn in which a child is started, and during a pause. To start a child and wait for it, hold
        this lock yourself."""
        self._waiting = 0
        self._began = self._worked = 0.0

    async def __aenter__(self) -> None:
        self._waiting += 1
        try:
            await self.alone.acquire()
        finally:
            self._waiting -= 1
        self._began, self._worked = time.monotonic(), time.thread_time()

    async def __aexit__(self, *_: object) -> None:
        waited = time.monotonic() - self._began - (time.thread_time() - self._worked)
        loop = asyncio.get_running_loop()
        if waited > _SLOW:
            loop.call_later(_PAUSE * (waited - _SLOW), self.alone.release)
        else:
            loop.call_soon(self.alone.release)

    async def cleared(self) -> None:
        """Wait until all tasks that are waiting now have had their turn."""
        if self._waiting > 0:
            async with self.alone:
                pass


def spawn_gate() -> SpawnGate:
    """Return the gate of the running loop."""
    gate = _gates.get(None)
    if gate is None:
        gate = SpawnGate()
        _gates.set(gate)
    return gate
