"""Starting a program with asyncio, without losing the child if the starting task is cancelled.

All programs that a run or a fleet needs are started here, with `asyncio.create_subprocess_exec`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import types
from typing import TYPE_CHECKING, Any

from sshfan_async.process.uncancelled import wait_for_end

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["ExitCodesLost", "Spawning", "check_exit_codes"]

_PATIENCE = 1.0
"""Seconds for asyncio to finish a start whose task was cancelled: it kills the child at once, and then may hang."""


class ExitCodesLost(OSError):
    """Children can be started here, but their exit codes do not reach this process."""


def check_exit_codes() -> None:
    """Make sure that the exit codes of children reach this process.

    Raises:
        ExitCodesLost: SIGCHLD is ignored, so the kernel discards them (wait(2)); exec keeps that setting.

    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        raise ExitCodesLost(
            "SIGCHLD is ignored in this process, so no exit code reaches it: "
            "signal.signal(signal.SIGCHLD, signal.SIG_DFL)"
        )


class Spawning:
    """A program that asyncio is starting. The child process exists; `process()` lets asyncio watch it.

    If every task is cancelled at once, as `asyncio.run` does at its end, asyncio kills a child that is being started
    and waits for it. It waits for ever if its own task for the child's pipes was cancelled before its first step
    (base_subprocess.py: _connect_pipes, _wait). So a cancellation here hands the rest to a task of its own. Such a
    task for each start would cost two turns of the loop a child.
    """

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, *argv: str, **options: Any) -> None:
        """Start the program, without waiting; the arguments are those of `asyncio.create_subprocess_exec`.

        Raises:
            OSError: it cannot be started.

        """
        self._coroutine = asyncio.create_subprocess_exec(*argv, **options)
        try:
            # The program starts before the first wait (base_subprocess.py: BaseSubprocessTransport).
            self._waits_for: object = self._coroutine.send(None)
        except RuntimeError as error:
            # Before 3.12 a thread waits for each child (asyncio.ThreadedChildWatcher): no thread could be started.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    async def process(self) -> asyncio.subprocess.Process:
        """Return asyncio's object for the child. A cancellation kills the child and reaps it."""
        try:
            return await self._driven()
        except asyncio.CancelledError:
            rest = asyncio.ensure_future(self._coroutine)
            await wait_for_end(rest, seconds=_PATIENCE)
            if rest.done() and not rest.cancelled() and rest.exception() is None:
                process = rest.result()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await wait_for_end(asyncio.ensure_future(process.wait()))
            rest.cancel()
            raise

    @types.coroutine
    def _driven(self) -> Generator[Any, None, asyncio.subprocess.Process]:
        """Await the rest of the coroutine, but leave it where it is when the task is cancelled."""
        try:
            while True:
                yield self._waits_for
                self._waits_for = self._coroutine.send(None)
        except StopIteration as end:
            process: asyncio.subprocess.Process = end.value
            return process
