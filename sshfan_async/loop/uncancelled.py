"""Waits for work that must be finished, even if the waiting task, or every task of the loop, is cancelled.

A shield alone does not stop a native `task.cancel()`. Without a shield, a cancelled anyio scope cancels the waiting
task again in each turn of the loop. And `asyncio.run` cancels all tasks that `asyncio.all_tasks()` lists when its
coroutine has ended.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

__all__ = ["complete", "unlisted_task", "wait_for_end"]


def unlisted_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Return a task that `asyncio.all_tasks()` does not list, so that nobody cancels it with all others.

    Keep a reference to it, and wait for its end: `asyncio.run` does not.
    """
    task = asyncio.Task(work)
    asyncio._unregister_task(task)  # Python's documentation names it: "Extending"
    return task


async def complete(
    work: Coroutine[Any, Any, T] | asyncio.Future[T], *, on_cancel: Callable[[], object] | None = None
) -> T:
    """Await `work` to its end, as a task of its own.

    If the caller is cancelled meanwhile, `on_cancel` is called, and the cancellation is raised at the end of the
    work.
    """
    task = work if isinstance(work, asyncio.Future) else unlisted_task(work)
    cancelled = await wait_for_end(task, on_cancel=on_cancel)
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # mark it as retrieved: the caller gets the cancellation
    raise cancelled


async def wait_for_end(
    task: asyncio.Future[Any], *, seconds: float | None = None, on_cancel: Callable[[], object] | None = None
) -> asyncio.CancelledError | None:
    """Wait until `task` is done, but at most `seconds` if that is not None.

    If the caller is cancelled meanwhile, `on_cancel` is called each time. The last cancellation is returned, not
    raised.
    """
    give_up = math.inf if seconds is None else time.monotonic() + seconds
    cancelled: asyncio.CancelledError | None = None
    while not task.done() and (remaining := give_up - time.monotonic()) > 0:
        try:
            if cancelled is None:
                await _wait(task, remaining)
            else:
                with anyio.CancelScope(shield=True):
                    await _wait(task, remaining)
        except asyncio.CancelledError as error:
            cancelled = error
            if on_cancel is not None:
                on_cancel()
    return cancelled


async def _wait(task: asyncio.Future[Any], seconds: float) -> None:
    """Wait until `task` is done, but at most `seconds`. Without a limit, asyncio.wait() costs twice as much."""
    if seconds < math.inf:
        await asyncio.wait([task], timeout=seconds)
        return
    waiter = asyncio.get_running_loop().create_future()

    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)
