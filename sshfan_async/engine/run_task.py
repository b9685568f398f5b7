"""Run in the background: in the caller's event loop if it is a standard one, otherwise in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING, Self

import anyio

from sshfan_async.engine.supervisor import Supervisor, refuse
from sshfan_async.loop.loops import LoopThread, is_standard
from sshfan_async.loop.uncancelled import wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import TracebackType

    from sshfan_async.engine.run import Run
    from sshfan_async.event import Event

__all__ = ["RunTask"]

# The first call of anyio imports its asyncio backend, which would block the caller's loop for 15 ms.
with contextlib.suppress(ImportError):
    importlib.import_module("anyio._backends._asyncio")


class RunTask:
    """A run in the background. Leaving the `async with` block ends it and waits until all children are reaped.

    The run is a task of its own: a shield in the caller's task would not stop a native `task.cancel()`.
    """

    def __init__(self, run: Run, emit: Callable[[Event], None], *, followed: bool = False) -> None:
        """`emit` is called in the caller's loop. `followed`: phases and output too, not only starts and ends."""
        self._run = run
        self._emit = emit
        self._followed = followed
        self._thread: LoopThread | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if is_standard(loop):
            self._supervisor = Supervisor(self._run, self._emit, followed=self._followed)
            self._task: asyncio.Future[None] = loop.create_task(self._supervisor.run(), name="sshfan run")
        else:
            self._start_in_thread(loop)
        return self

    def _start_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        def emit(event: Event) -> None:
            loop.call_soon_threadsafe(self._emit, event)

        fanout = self._run.limits.fanout
        limiter = _ForeignLimiter(fanout, loop) if isinstance(fanout, anyio.CapacityLimiter) else None
        self._supervisor = Supervisor(self._run, emit, followed=self._followed, limiter=limiter)
        try:
            self._thread = LoopThread("sshfan run").__enter__()
        except OSError as error:
            self._task = loop.create_future()
            self._task.set_result(None)
            refuse(self._run, self._emit, error)
            return
        self._task = asyncio.wrap_future(self._thread.start(self._supervisor.run))

    def _call(self, function: Callable[[], None]) -> None:
        if self._thread is None:
            function()
        elif not self._task.done():
            self._thread.call(function)

    def stop(self) -> None:
        """End the run early: targets in flight are `cancelled`, targets not started are `not_run`."""
        self._call(self._supervisor.stop)

    def pause(self) -> None:
        """Stop reading the hosts' output, until `resume`."""
        self._call(self._supervisor.pause)

    def resume(self) -> None:
        """Read the hosts' output again."""
        self._call(self._supervisor.resume)

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call `callback` when all outcomes have been emitted."""
        self._task.add_done_callback(lambda _: callback())

    async def finished(self) -> None:
        """Wait until every target has its outcome."""
        await asyncio.wait([self._task])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._task.done():
            self.stop()
        cancelled = await wait_for_end(self._task, on_cancel=self.stop)
        if self._thread is not None:
            self._thread.__exit__(None, None, None)
        if error is None:
            self._task.result()
            if cancelled is not None:
                raise cancelled


class _ForeignLimiter:
    """A limiter that belongs to the caller's loop, for use in the loop of the run."""

    def __init__(self, limiter: anyio.CapacityLimiter, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = limiter
        self._loop = loop

    @property
    def total_tokens(self) -> float:
        return self._limiter.total_tokens

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        acquiring = asyncio.run_coroutine_threadsafe(self._limiter.acquire_on_behalf_of(borrower), self._loop)
        try:
            await asyncio.shield(asyncio.wrap_future(acquiring))
        except asyncio.CancelledError:

            def release(done: Future[None]) -> None:
                if not done.cancelled() and done.exception() is None:
                    self.release_on_behalf_of(borrower)

            acquiring.add_done_callback(release)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self._loop.call_soon_threadsafe(self._limiter.release_on_behalf_of, borrower)
