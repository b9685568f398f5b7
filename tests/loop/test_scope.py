"""The scope that ends a block early: by whom, when, and what the task sees."""

from __future__ import annotations

import asyncio
import math

import pytest

from sshfan_async.loop.scope import CancelScope


async def wait_in(scope: CancelScope, seen: list[str]) -> None:
    with scope:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("left")
    await asyncio.sleep(0)
    seen.append("after")


async def test_cancel_ends_the_block_and_not_the_task() -> None:
    scope, seen = CancelScope(), list[str]()
    task = asyncio.create_task(wait_in(scope, seen))
    await asyncio.sleep(0)
    scope.cancel()
    await task
    assert seen == ["left", "after"]
    assert task.cancelling() == 0


async def test_cancel_before_the_block_ends_its_first_wait() -> None:
    scope, seen = CancelScope(), list[str]()
    scope.cancel()
    await wait_in(scope, seen)
    assert seen == ["left", "after"]


async def test_cancel_in_the_block_by_the_task_itself_ends_its_next_wait() -> None:
    with CancelScope() as scope:
        scope.cancel()
        await asyncio.Event().wait()
        pytest.fail("the wait has ended")
    await asyncio.sleep(0)


async def test_cancel_of_a_block_that_does_not_wait_reaches_nothing_after_it() -> None:
    with CancelScope() as scope:
        scope.cancel()
    for _ in range(3):
        await asyncio.sleep(0)


async def test_cancel_after_the_block_reaches_nothing() -> None:
    with CancelScope() as scope:
        await asyncio.sleep(0)
    scope.cancel()
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("turns", range(4))
async def test_cancel_near_the_end_of_a_wait_reaches_nothing_after_the_block(turns: int) -> None:
    loop = asyncio.get_running_loop()
    waited, scope = loop.create_future(), CancelScope()

    async def body() -> str:
        with scope:
            await waited
        for _ in range(6):
            await asyncio.sleep(0)
        return "whole"

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    waited.set_result(None)
    for _ in range(turns):
        await asyncio.sleep(0)
    scope.cancel()
    assert await task == "whole"


async def test_block_that_only_yields_is_ended() -> None:
    scope = CancelScope()
    asyncio.get_running_loop().call_soon(scope.cancel)
    with scope:
        while True:
            await asyncio.sleep(0)


async def test_deadline_ends_the_block() -> None:
    loop = asyncio.get_running_loop()
    with CancelScope(deadline=loop.time() + 0.01):
        await asyncio.Event().wait()
    with CancelScope(deadline=loop.time() - 1):
        await asyncio.Event().wait()


async def test_deadline_can_be_moved() -> None:
    loop = asyncio.get_running_loop()
    with CancelScope(deadline=loop.time() + 0.001) as scope:
        scope.deadline = math.inf
        await asyncio.sleep(0.01)
        scope.deadline = loop.time()
        await asyncio.Event().wait()
    scope.deadline = loop.time()
    await asyncio.sleep(0.001)


@pytest.mark.parametrize("first", ["scope", "task"])
async def test_native_cancellation_in_the_same_turn_goes_on(first: str) -> None:
    scope, seen = CancelScope(), list[str]()
    task = asyncio.create_task(wait_in(scope, seen))
    await asyncio.sleep(0)
    for cancel in (scope.cancel, task.cancel) if first == "scope" else (task.cancel, scope.cancel):
        cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["left"]


async def test_native_cancellation_alone_goes_on() -> None:
    scope, seen = CancelScope(), list[str]()
    task = asyncio.create_task(wait_in(scope, seen))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["left"]


async def test_error_of_the_block_passes() -> None:
    scope = CancelScope()

    async def body() -> None:
        with scope:
            try:
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    scope.cancel()
    with pytest.raises(ZeroDivisionError):
        await task
    assert task.cancelling() == 0


async def test_block_is_cancelled_once() -> None:
    """A clean-up that waits is not disturbed."""
    with CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
