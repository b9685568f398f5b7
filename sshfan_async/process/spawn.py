"""Starts a program with asyncio, without losing the child if the task is cancelled meanwhile."""

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
            "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first"
        )


def _add_child_watcher() -> None:
    """Let asyncio's own loops start children although the process has a loop policy without a child watcher.

    Up to Python 3.13 they ask the policy for one (unix_events.py: _make_subprocess_transport). uvloop's policy has
    none: its loops do not need one.
    """
    policy = asyncio.get_event_loop_policy()
    policy.get_child_watcher = asyncio.DefaultEventLoopPolicy().get_child_watcher  # type: ignore[method-assign]


class Spawning:
    """A program that asyncio is starting. The child process exists; `process()` lets asyncio watch it.

    If all tasks are cancelled at once, as at the end of `asyncio.run`, asyncio kills a child that is being started,
    and waits for it. It waits for ever if its own task for the child's pipes was cancelled before its first step
    (base_subprocess.py: _connect_pipes, _wait). So after a cancellation, a new task finishes the start. A task for
    every start would cost two turns of the loop for each child.
    """

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, *argv: str, **options: Any) -> None:
        """Start the program, without waiting; the arguments are those of `asyncio.create_subprocess_exec`.

        Raises:
            OSError: it cannot be started.

        """
        try:
            self._start(argv, options)
        except NotImplementedError:
            _add_child_watcher()
            self._start(argv, options)

    def _start(self, argv: tuple[str, ...], options: dict[str, Any]) -> None:
        self._coroutine = asyncio.create_subprocess_exec(*argv, **options)
        try:
            # The program starts before the first wait (base_subprocess.py: BaseSubprocessTransport).
            self._waits_for: object = self._coroutine.send(None)
        except NotImplementedError:
            raise
        except RuntimeError as error:
            # Before 3.12 a thread waits for each child (asyncio.ThreadedChildWatcher): no thread could be started.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    async def process(self) -> asyncio.subprocess.Process:
        """Return asyncio's object for the child. A cancellation kills the child and reaps it."""
        try:
            return await self._continued()
        except asyncio.CancelledError:
            start = asyncio.ensure_future(self._coroutine)
            await wait_for_end(start, seconds=_PATIENCE)
            if start.done() and not start.cancelled() and start.exception() is None:
                process = start.result()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await wait_for_end(asyncio.ensure_future(process.wait()))
            start.cancel()
            raise

    @types.coroutine
    def _continued(self) -> Generator[Any, None, asyncio.subprocess.Process]:
        """Run the coroutine to its end. A cancellation is not thrown into it, so that a task can continue it."""
        try:
            while True:
                yield self._waits_for
                self._waits_for = self._coroutine.send(None)
        except StopIteration as end:
            process: asyncio.subprocess.Process = end.value
            return process
