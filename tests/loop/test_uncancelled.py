from __future__ import annotations

import asyncio
import gc
import time

import anyio
import pytest

from sshfan_async.loop.uncancelled import complete, wait_for_end
from tests.support.processes import PATIENCE


class Work:
    """Work that goes on until `release` is called."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), False
        self._released = asyncio.Event()

    def release(self) -> None:
        self._released.set()

    def release_later(self) -> None:
        """Call `release` after many turns of the loop."""
        asyncio.get_running_loop().call_later(0.05, self.release)

    async def __call__(self) -> str:
        self.begun.set()
        await self._released.wait()
        self.ended = True
        return "done"


async def fail_later(work: Work) -> None:
    await work()
    raise ZeroDivisionError


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# complete


async def test_complete_returns_the_result() -> None:
    work = Work()
    work.release()
    assert await complete(work()) == "done"


async def test_complete_finishes_the_work_although_every_task_is_cancelled() -> None:
    work, others = Work(), asyncio.all_tasks()
    waiting = asyncio.create_task(complete(work()))
    await work.begun.wait()
    for task in asyncio.all_tasks() - others:
        task.cancel()
    work.release_later()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended


async def test_complete_raises_the_exception_of_the_work() -> None:
    work = Work()
    work.release()
    with pytest.raises(ZeroDivisionError):
        await complete(fail_later(work))


async def test_native_cancellation_is_raised_when_the_work_has_ended() -> None:
    work = Work()
    waiting = asyncio.create_task(complete(work()))
    await work.begun.wait()
    waiting.cancel()
    await turns(10)
    assert not waiting.done()
    work.release()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended


async def test_native_cancellation_in_every_turn_does_not_end_the_work() -> None:
    work = Work()
    waiting = asyncio.create_task(complete(work()))
    for _ in range(20):
        await asyncio.sleep(0)
        waiting.cancel()
    assert not waiting.done()
    work.release()
    while not waiting.done():
        waiting.cancel()
        await asyncio.sleep(0)
    assert waiting.cancelled()
    assert work.ended


async def test_cancelled_scope_is_left_when_the_work_has_ended() -> None:
    work = Work()
    with anyio.CancelScope() as scope:
        work.release_later()
        scope.cancel()
        await complete(work())
    assert scope.cancelled_caught
    assert work.ended


async def test_cancelled_scope_and_native_cancellation_together_do_not_end_the_work() -> None:
    work = Work()

    async def wait() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await complete(work())

    waiting = asyncio.create_task(wait())
    await work.begun.wait()
    for _ in range(10):
        waiting.cancel()
        await asyncio.sleep(0)
    assert not waiting.done()
    work.release()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended


async def test_cancellation_wins_over_the_failure_of_the_work_which_is_not_reported() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

    async def cancel() -> None:
        work = Work()
        waiting = asyncio.create_task(complete(fail_later(work)))
        await work.begun.wait()
        waiting.cancel()
        await asyncio.sleep(0)
        work.release()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    await cancel()
    await asyncio.sleep(0)
    gc.collect()  # asyncio reports an exception that was never retrieved when it frees the task
    assert reported == []


async def test_work_that_is_cancelled_itself_raises_that() -> None:
    task = asyncio.ensure_future(Work()())
    waiting = asyncio.create_task(complete(task))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert waiting.cancelling() == 0  # it was not the caller who was cancelled


async def test_each_native_cancellation_calls_on_cancel() -> None:
    work, told = Work(), []
    waiting = asyncio.create_task(complete(work(), on_cancel=lambda: told.append(1)))
    await work.begun.wait()
    for count in (1, 2, 3):
        waiting.cancel()
        await asyncio.sleep(0)
        assert len(told) == count
    work.release()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_scope_that_is_cancelled_calls_on_cancel_once() -> None:
    """Unless it is shielded, anyio cancels a task in a cancelled scope again in every turn of the loop."""
    told: list[int] = []
    ended = asyncio.Event()

    def tell() -> None:
        told.append(1)
        asyncio.get_running_loop().call_later(0.1, ended.set)

    with anyio.move_on_after(0) as scope:
        await complete(ended.wait(), on_cancel=tell)
    assert scope.cancelled_caught
    assert told == [1]


# wait_for_end


async def test_wait_for_end_returns_none_for_a_task_that_ends() -> None:
    work = Work()
    work.release()
    task = asyncio.ensure_future(work())
    assert await wait_for_end(task) is None
    assert task.result() == "done"


async def test_wait_for_end_does_not_raise_what_the_task_raises() -> None:
    work = Work()
    work.release()
    task = asyncio.ensure_future(fail_later(work))
    assert await wait_for_end(task) is None
    assert isinstance(task.exception(), ZeroDivisionError)


async def test_wait_for_end_returns_the_native_cancellation() -> None:
    work = Work()
    task = asyncio.ensure_future(work())
    waiting = asyncio.create_task(wait_for_end(task))
    await work.begun.wait()
    waiting.cancel("why")
    await turns(10)
    assert not waiting.done()
    work.release()
    cancelled = await waiting
    assert isinstance(cancelled, asyncio.CancelledError)
    assert cancelled.args == ("why",)
    assert task.result() == "done"


async def test_wait_for_end_returns_the_cancellation_of_a_scope() -> None:
    work = Work()
    with anyio.CancelScope() as scope:
        task = asyncio.ensure_future(work())
        work.release_later()
        scope.cancel()
        assert isinstance(await wait_for_end(task), asyncio.CancelledError)
        assert work.ended


async def test_wait_for_end_gives_up_after_its_seconds_and_leaves_the_task_running() -> None:
    work = Work()
    task = asyncio.ensure_future(work())
    began = time.monotonic()
    assert await wait_for_end(task, seconds=0.05) is None
    assert 0.05 <= time.monotonic() - began < PATIENCE
    assert not task.done()
    work.release()
    assert await task == "done"


async def test_wait_for_end_gives_up_after_its_seconds_however_often_it_is_cancelled() -> None:
    work = Work()
    task = asyncio.ensure_future(work())
    waiting = asyncio.create_task(wait_for_end(task, seconds=0.05))
    await work.begun.wait()
    began = time.monotonic()
    while not waiting.done():
        assert time.monotonic() - began < PATIENCE
        waiting.cancel()
        await asyncio.sleep(0)
    assert isinstance(waiting.result(), asyncio.CancelledError)
    assert not task.done()
    work.release()
    await task
