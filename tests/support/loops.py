"""Runs on each kind of event loop."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import uvloop

from tests.support.processes import descriptors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    NewLoop = Callable[[], asyncio.AbstractEventLoop]


def on(new_loop: NewLoop, function: Callable[[], Awaitable[Any]]) -> Any:
    """Run `function` on a loop of that kind; it must leave no task and no descriptor behind."""

    async def main() -> Any:
        before = descriptors()
        try:
            return await function()
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert descriptors().keys() <= before.keys()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.sleep(0))
        return runner.run(main())


@contextlib.contextmanager
def uvloop_policy() -> Iterator[None]:
    """Set the loop policy that `uvloop.install()` sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.14 on
        before = asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        try:
            yield
        finally:
            asyncio.set_event_loop_policy(before)


class Turns:
    """Counts the turns of the running event loop, inside `async with`."""

    def __init__(self) -> None:
        self.number = 0
        self._counting: asyncio.Task[None]

    async def __aenter__(self) -> Turns:
        self._counting = asyncio.create_task(self._count())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._counting.cancel()

    async def _count(self) -> None:
        while True:
            self.number += 1
            await asyncio.sleep(0)
