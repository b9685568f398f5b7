"""Run coroutines in a standard asyncio event loop, whatever loop and loop policy the caller has.

uvloop forks to spawn a child, which stalls the loop for 3 to 40 ms, and longer in a larger process. asyncio's own
loops stall only for the spawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

__all__ = ["LoopThread", "in_thread", "is_standard", "run_alone"]

T = TypeVar("T")


def is_standard(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether runs and fleets can use `loop`."""
    return isinstance(loop, asyncio.SelectorEventLoop)


def run_alone(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
    """Await `function` in a new standard loop in this thread, in which no loop may be running."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(function(*arguments))


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Call `function` in a worker thread; in this one if no thread can be started.

    That is so if there is a limit on processes, and when the interpreter is shutting down. `function` must not raise
    RuntimeError.
    """
    try:
        return await anyio.to_thread.run_sync(function, *arguments)
    except RuntimeError:
        return function(*arguments)


class LoopThread:
    """A standard event loop in a thread of its own, for the time of the `with` block.

    Leaving the block waits until every task in the loop has ended. An exception that leaves the block first cancels
    what `start` has started.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, name: str) -> None:
        """`name`: the name of the thread."""
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._running: Future[asyncio.AbstractEventLoop] = Future()
        self._closing: asyncio.Event
        self._started: set[Future[Any]] = set()
        self._abandoned = False

    def __enter__(self) -> Self:
        """Start the thread and its loop.

        Raises:
            OSError: no thread can be started, or there are no descriptors for the loop.

        """
        try:
            self._start()
            self.loop = self._running.result()
        except BaseException:
            # A signal handler has raised it, or no thread can be started.
            self._abandoned = True
            if self._running.done() and self._running.exception() is None:
                self._end(self._running.result())
            raise
        return self

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no thread can be started: out of processes or memory (ulimit -u)") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            for future in tuple(self._started):
                future.cancel()
        self._end(self.loop)
        self._thread.join()

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop end after its tasks."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._closing.set)

    def start(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> Future[T]:
        """Run `function` as a task of the loop; cancelling the future cancels the task."""
        future: Future[T] = Future()
        # First: a signal handler can raise an exception in any of these lines.
        self._started.add(future)
        future.add_done_callback(self._started.discard)
        self.loop.call_soon_threadsafe(self._begin, future, function, arguments)
        return future

    def _begin(
        self, future: Future[T], function: Callable[..., Coroutine[Any, Any, T]], arguments: tuple[object, ...]
    ) -> None:
        task = self.loop.create_task(function(*arguments))
        task.add_done_callback(partial(_pass_on, future))

        def cancel(future: Future[T]) -> None:
            if future.cancelled():
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self.loop.call_soon_threadsafe(task.cancel)

        future.add_done_callback(cancel)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call `function` in the loop, soon.

        Raises:
            RuntimeError: the loop has ended.

        """
        self.loop.call_soon_threadsafe(function, *arguments)

    def _main(self) -> None:
        try:
            run_alone(self._serve)
        except BaseException as error:
            if self._running.done():
                raise
            self._running.set_exception(error)

    async def _serve(self) -> None:
        self._closing = asyncio.Event()
        self._running.set_result(asyncio.get_running_loop())
        if self._abandoned:
            self._closing.set()
        await self._closing.wait()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


def _pass_on(future: Future[T], task: asyncio.Task[T]) -> None:
    """Give the result of `task` to `future`, unless that is cancelled."""
    error = None if task.cancelled() else task.exception()
    if task.cancelled():
        future.cancel()
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(task.result())
    else:
        future.set_exception(error)
