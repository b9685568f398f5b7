"""Cancels a task, or every task of the event loop, in a given turn of the loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.processes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["CANCELLATIONS", "Cancellation"]


@dataclass(frozen=True)
class Cancellation:
    """What is cancelled, and whether once or in every turn until the task has ended."""

    every_task: bool
    in_every_turn: bool

    def __str__(self) -> str:
        what = "every task" if self.every_task else "the task"
        return f"{what} in every turn" if self.in_every_turn else f"{what} once"

    async def after(self, turns: int, start: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
        """Start a task, cancel after `turns` turns of the loop, and return the task when it has ended."""
        others = asyncio.all_tasks()
        task = asyncio.ensure_future(start())
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            self._cancel(task, others)
            while self.in_every_turn and not task.done():
                await asyncio.sleep(0)
                self._cancel(task, others)
            await asyncio.wait([task])
        assert asyncio.all_tasks() == others
        return task

    def _cancel(self, task: asyncio.Future[Any], others: set[asyncio.Task[Any]]) -> None:
        for each in asyncio.all_tasks() - others if self.every_task else {task}:
            each.cancel()


CANCELLATIONS = [Cancellation(every_task, often) for every_task in (False, True) for often in (False, True)]
