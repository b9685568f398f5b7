from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from sshfan_async.process.descriptors import DescriptorBudget, enlarge_table

if TYPE_CHECKING:
    from collections.abc import Coroutine


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_room_is_what_the_limit_and_open_files_leave() -> None:
    budget = DescriptorBudget()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 132, hard))
        assert 80 <= budget.room() <= 132
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_room_is_never_negative() -> None:
    budget = DescriptorBudget()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 3, hard))
        assert budget.room() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_leases_beyond_the_room_wait_for_a_release() -> None:
    budget = DescriptorBudget()
    await budget.lease(5, 12)
    await budget.lease(5, 12)
    third = asyncio.create_task(budget.lease(5, 12))
    await settle()
    assert not third.done()
    budget.release(5)
    async with asyncio.timeout(1):
        await third


async def test_one_child_always_goes() -> None:
    budget = DescriptorBudget()
    async with asyncio.timeout(1):
        await budget.lease(5, 0)


async def test_cancelled_waiter_leaves_its_turn_to_the_next() -> None:
    budget = DescriptorBudget()
    await budget.lease(5, 5)
    first, second = [asyncio.create_task(budget.lease(5, 5)) for _ in range(2)]
    await settle()
    budget.release(5)  # wakes the first, which is cancelled in the same turn of the loop
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(1):
        await second


async def test_one_release_serves_all_that_fit() -> None:
    budget = DescriptorBudget()
    await budget.lease(10, 10)
    waiting = [asyncio.create_task(budget.lease(5, 10)) for _ in range(2)]
    await settle()
    budget.release(10)
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)


async def test_leases_are_served_in_turn() -> None:
    budget = DescriptorBudget()
    await budget.lease(5, 10)
    large = asyncio.create_task(budget.lease(6, 10))
    await settle()
    small = asyncio.create_task(budget.lease(5, 10))
    await settle()
    assert not small.done()
    budget.release(5)
    async with asyncio.timeout(1):
        await large
        budget.release(6)
        await small


async def test_loop_in_another_thread_gets_what_this_one_releases() -> None:
    budget = DescriptorBudget()
    await budget.lease(5, 5)
    waiting, got = threading.Event(), threading.Event()

    async def other() -> None:
        leasing = asyncio.create_task(budget.lease(5, 5))
        await settle()
        waiting.set()
        await leasing
        got.set()

    thread = threading.Thread(target=asyncio.run, args=(other(),))
    thread.start()
    await asyncio.to_thread(waiting.wait, 10)
    assert not got.is_set()
    budget.release(5)
    assert await asyncio.to_thread(got.wait, 10)
    await asyncio.to_thread(thread.join)


async def test_waiter_whose_loop_was_closed_is_passed_over() -> None:
    budget = DescriptorBudget()
    await budget.lease(5, 5)
    loop = asyncio.new_event_loop()

    async def begin() -> Coroutine[Any, Any, None]:
        leasing = budget.lease(5, 5)
        leasing.send(None)
        return leasing

    stranded = await asyncio.to_thread(loop.run_until_complete, begin())
    loop.close()
    here = asyncio.create_task(budget.lease(5, 5))
    await settle()
    budget.release(5)
    async with asyncio.timeout(1):
        await here
    stranded.close()


# In a child process: a table never shrinks.
GROWN = """
import anyio, os, resource, sys
from sshfan_async.process.descriptors import enlarge_table

def size():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("FDSize:"))

async def main():
    before, opened = size(), len(os.listdir("/proc/self/fd"))
    await enlarge_table(int(sys.argv[1]))
    print(before, size(), len(os.listdir("/proc/self/fd")) - opened)

resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
anyio.run(main)
"""


@pytest.mark.parametrize(("count", "least"), [(700, 700), (1_000_000, 2000)])
def test_the_table_has_room_before_it_is_needed_and_within_the_limit(count: int, least: int) -> None:
    ran = subprocess.run([sys.executable, "-c", GROWN, str(count)], check=True, capture_output=True, text=True)
    before, after, left_open = map(int, ran.stdout.split())
    assert before < least <= after
    assert left_open == 0


async def test_a_table_with_room_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    await enlarge_table(200)
    monkeypatch.setattr(anyio.to_thread, "run_sync", None)
    await enlarge_table(100)
