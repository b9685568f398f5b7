"""Run coroutines in a standard asyncio event loop, whatever loop and loop policy the caller has.

uvloop forks to spawn a child, which stalls the loop for 3 to 40 ms, and longer in a larger process. asyncio's own
loops stall only for the spawn.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

__all__ = ["LoopThread", "is_standard", "run_alone"]

T = TypeVar("T")


def is_standard(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether runs and fleets can use `loop`."""
    return isinstance(loop, asyncio.SelectorEventLoop)


def run_alone(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
    """Await `function` in a new standard loop in this thread, in which no loop may be running."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(function(*arguments))


class LoopThread:
    """A standard event loop in a thread of its own, for the time of the `with` block.

    Leaving the block waits until every task in the loop has ended.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, name: str) -> None:
        """`name`: the name of the thread."""
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._running: Future[asyncio.AbstractEventLoop] = Future()
        self._closing: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self.loop = self._running.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def start(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> Future[T]:
        """Run `function` as a task of the loop; cancelling the future cancels the task."""
        return asyncio.run_coroutine_threadsafe(function(*arguments), self.loop)

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
        await self._closing.wait()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
