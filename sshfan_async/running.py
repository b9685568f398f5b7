"""A run in the background of the caller's task: on the caller's own loop, or on a private one in a thread.

asyncio's own loops start a child without stalling for longer than the spawn; uvloop forks (3 to 40 ms of stall a
child, more with a larger process). So under any loop but a standard one the run gets a standard loop of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import anyio

from sshfan_async.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from types import TracebackType

    from anyio.from_thread import BlockingPortal

    from sshfan_async.events import Event
    from sshfan_async.settings import Run

__all__ = ["Running", "standard_portal"]


def standard_portal() -> AbstractContextManager[BlockingPortal]:
    """Return a portal to a standard event loop in a thread of its own, whatever loop policy is in force."""
    from anyio.from_thread import start_blocking_portal  # 5 ms, and most runs need none

    return start_blocking_portal("asyncio", {"loop_factory": asyncio.SelectorEventLoop})


class Running:
    """The run goes on while the body of `async with` does; leaving it ends the run, and waits until all is reaped.

    The run is a task of its own: a shield in the caller's task would not stop a native `task.cancel()`.
    """

    def __init__(self, run: Run, emit: Callable[[Event], None], *, followed: bool = False) -> None:
        """`emit` is called in the caller's loop; with phases and output as they come, if `followed`."""
        self._run = run
        self._emit = emit
        self._followed = followed
        self._portal: AbstractContextManager[BlockingPortal] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            self._supervisor = Supervisor(self._run, self._emit, followed=self._followed)
            self._task: asyncio.Future[None] = loop.create_task(self._supervisor.run(), name="sshfan run")
        else:
            self._start_elsewhere(loop)
        return self

    def _start_elsewhere(self, loop: asyncio.AbstractEventLoop) -> None:
        def emit(event: Event) -> None:
            loop.call_soon_threadsafe(self._emit, event)

        fanout = self._run.limits.fanout
        limiter = _Distant(fanout, loop) if isinstance(fanout, anyio.CapacityLimiter) else None
        self._supervisor = Supervisor(self._run, emit, followed=self._followed, limiter=limiter)
        self._portal = standard_portal()
        self._elsewhere = self._portal.__enter__()
        self._task = asyncio.wrap_future(self._elsewhere.start_task_soon(self._supervisor.run))

    def _call(self, function: Callable[[], None]) -> None:
        if self._portal is None:
            function()
        elif not self._task.done():
            self._elsewhere.start_task_soon(function)

    def stop(self) -> None:
        """End the run early: what is in flight is `cancelled`, what has not started `not_run`."""
        self._call(self._supervisor.stop)

    def hold(self) -> None:
        """Hold the hosts' output back, until `release`."""
        self._call(self._supervisor.hold)

    def release(self) -> None:
        """Let the hosts' output come again."""
        self._call(self._supervisor.release)

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call `callback` once every target has its outcome, all of which have been emitted by then."""
        self._task.add_done_callback(lambda _: callback())

    async def finished(self) -> None:
        """Wait until every target has its outcome."""
        await asyncio.wait([self._task])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while not self._task.done():
                self.stop()
                try:
                    await asyncio.wait([self._task])
                except asyncio.CancelledError as again:
                    cancelled = again  # the children come first
        if self._portal is not None:
            self._portal.__exit__(None, None, None)
        if error is None:
            self._task.result()
            if cancelled is not None:
                raise cancelled


class _Distant:
    """A limiter of the caller's loop, used from ours."""

    def __init__(self, limiter: anyio.CapacityLimiter, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = limiter
        self._loop = loop

    @property
    def total_tokens(self) -> float:
        return self._limiter.total_tokens

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        got = asyncio.run_coroutine_threadsafe(self._limiter.acquire_on_behalf_of(borrower), self._loop)
        try:
            await asyncio.shield(asyncio.wrap_future(got))
        except asyncio.CancelledError:

            def give_back(done: Future[None]) -> None:
                if not done.cancelled() and done.exception() is None:
                    self.release_on_behalf_of(borrower)

            got.add_done_callback(give_back)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self._loop.call_soon_threadsafe(self._limiter.release_on_behalf_of, borrower)
