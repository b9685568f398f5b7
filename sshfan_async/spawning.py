"""Whose turn it is to start a child in an event loop: one at a time, and a rest after one that stalled the loop.

A spawn blocks the loop until the child has called exec (vfork(2); python/cpython#146181): 0.3 ms on an idle machine.
Where more processes want to run than there are CPUs, our own ssh children among them, the new one waits for its turn
on a CPU, 10 to 50 ms, and the loop with it. To start another one at once would only lengthen that queue; and as the
machine has enough to do meanwhile, a rest costs the run next to nothing (1 to 4 % with 200 hosts on two CPUs).
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["ExitCodesLost", "SpawnGate", "check_exit_codes", "spawn_gate"]

_NOTABLE = 0.003
"""Seconds that a spawn takes on an idle machine too, where this process has thousands of descriptors."""
_REST = 2.0
"""A rest is so many times as long as what the spawn waited beyond that."""

_gates: RunVar[SpawnGate] = RunVar("sshfan_async.spawn_gate")


class SpawnGate:
    """The gate of one event loop, made by `spawn_gate`."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn to start a child, which is what the block does and nothing else."""
        await self._lock.acquire()
        began, worked = time.monotonic(), time.thread_time()
        try:
            yield
        finally:
            waited = time.monotonic() - began - (time.thread_time() - worked)
            if waited > _NOTABLE:
                asyncio.get_running_loop().call_later(_REST * (waited - _NOTABLE), self._lock.release)
            else:
                self._lock.release()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Wait for a moment in which nobody starts a child; nobody does while the block lasts."""
        async with self._lock:
            yield


def spawn_gate() -> SpawnGate:
    """Return the gate of the running loop."""
    gate = _gates.get(None)
    if gate is None:
        gate = SpawnGate()
        _gates.set(gate)
    return gate


class ExitCodesLost(OSError):
    """Children can be started here, but nobody learns how they end."""


def check_exit_codes() -> None:
    """Make sure that the exit codes of children reach this process.

    Raises:
        ExitCodesLost: SIGCHLD is ignored, so the kernel throws them away (wait(2)); that is inherited across exec.

    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        raise ExitCodesLost(
            "SIGCHLD is ignored in this process, so no exit code reaches it: "
            "signal.signal(signal.SIGCHLD, signal.SIG_DFL)"
        )
