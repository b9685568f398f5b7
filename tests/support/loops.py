"""Runs on each kind of event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.support.processes import descriptors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
