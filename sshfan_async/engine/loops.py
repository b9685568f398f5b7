"""A standard event loop of our own, whatever loop and loop policy the caller has.

asyncio's own loops start a child without a stall longer than the spawn itself. uvloop forks: 3 to 40 ms of stall a
child, and more in a larger process.
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
    """Whether runs and fleets can live in `loop`."""
    return isinstance(loop, asyncio.SelectorEventLoop)


def run_alone(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
    """Await `function` in a standard loop in this thread; no loop may run here."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(function(*arguments))


class LoopThread:
    """A standard loop in a thread of its own, which runs while the `with` block does.

    Leaving the block waits until every task in the loop has ended.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, name: str) -> None:
        """`name`: the thread's."""
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._running: Future[asyncio.AbstractEventLoop] = Future()
        self._leaving: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self.loop = self._running.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.loop.call_soon_threadsafe(self._leaving.set)
        self._thread.join()

    def start(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> Future[T]:
        """Run `function` as a task of the loop; cancelling the future cancels the task."""
        return asyncio.run_coroutine_threadsafe(function(*arguments), self.loop)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have `function` called in the loop.

        Raises:
            RuntimeError: the loop has ended.

        """
        self.loop.call_soon_threadsafe(function, *arguments)

    def _main(self) -> None:
        try:
            run_alone(self._stay)
        except BaseException as error:
            if self._running.done():
                raise
            self._running.set_exception(error)

    async def _stay(self) -> None:
        self._leaving = asyncio.Event()
        self._running.set_result(asyncio.get_running_loop())
        await self._leaving.wait()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
