"""Whose turn it is to start a child: one in a turn of the event loop, and a rest after one that stalled it.

A spawn blocks the loop until the child has called exec (vfork(2); python/cpython#146181): 0.3 ms on an idle machine.
Where more processes want to run than there are CPUs, our own ssh children among them, the new one waits for its turn
on a CPU, 10 to 50 ms, and the loop with it. To start another one at once would only lengthen that queue; and as the
machine has enough to do meanwhile, a rest costs the run next to nothing (1 to 4 % with 200 hosts on two CPUs).
"""

from __future__ import annotations

import asyncio
import signal
import time

from anyio.lowlevel import RunVar

__all__ = ["ExitCodesLost", "SpawnGate", "check_exit_codes", "spawn_gate"]

_NOTABLE = 0.003
"""Seconds that a spawn takes on an idle machine too, where this process has thousands of descriptors."""
_REST = 2.0
"""A rest is so many times as long as what the spawn waited beyond that."""

_gates: RunVar[SpawnGate] = RunVar("sshfan_async.spawn_gate")


class SpawnGate:
    """The gate of one event loop, made by `spawn_gate`: `async with` it to start one child, without any wait."""

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        """Held for a turn of the loop by who starts a child, or for the rest: `async with` it for other work."""
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
        if waited > _NOTABLE:
            loop.call_later(_REST * (waited - _NOTABLE), self.alone.release)
        else:
            loop.call_soon(self.alone.release)

    async def cleared(self) -> None:
        """Wait until those have had their turn who wait for it now."""
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
