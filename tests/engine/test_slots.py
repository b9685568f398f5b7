from __future__ import annotations

import asyncio
import contextlib
import math
import os
import resource
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from sshfan_async import Ssh, fan_out
from sshfan_async.engine.run import checked_run
from sshfan_async.engine.run_log import RunLog
from sshfan_async.engine.slots import Slots
from tests.support.loops import on
from tests.support.processes import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    NewLoop = Callable[[], asyncio.AbstractEventLoop]


DESCRIPTORS = 4
"""Descriptors of a child in these tests."""
RESERVE = 32
"""Descriptors that the budget leaves for the application."""


class Log(RunLog):
    """Notes what the slots say of the run."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, int, int]] = []

    def run_started(self, hosts: int, fanout: int) -> None:
        self.said.append(("started", hosts, fanout))

    def fanout_lowered(self, wanted: int, possible: int) -> None:
        self.said.append(("lowered", wanted, possible))


def slots(hosts: int, fanout: Any, *, limiter: Any = None, log: RunLog | None = None) -> Slots:
    run = checked_run([f"web{number}" for number in range(hosts)], "true", fanout=fanout)
    return Slots(run, DESCRIPTORS, limiter, RunLog() if log is None else log)


@contextlib.contextmanager
def room_for(count: int) -> Iterator[None]:
    """Lower the limit on open files until there is room for `count` descriptors of children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + RESERVE + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# how many


@pytest.mark.parametrize(
    ("hosts", "fanout", "most"), [(10, 3, 3), (2, 3, 2), (10, None, 10), (0, 3, 1), (0, None, 1), (1, 1, 1)]
)
async def test_most_are_the_fanout_or_the_hosts(hosts: int, fanout: int | None, most: int) -> None:
    log = Log()
    assert slots(hosts, fanout, log=log).most == most
    assert log.said == [("started", hosts, most)]


@pytest.mark.parametrize(("hosts", "tokens", "most"), [(10, 3, 3), (2, 3, 2), (10, math.inf, 10), (0, 3, 0)])
async def test_most_are_the_tokens_of_a_shared_limiter_or_the_hosts(hosts: int, tokens: float, most: int) -> None:
    log = Log()
    assert slots(hosts, anyio.CapacityLimiter(tokens), log=log).most == most
    assert log.said == [("started", hosts, most)]


async def test_limiter_that_is_handed_over_replaces_the_fanout() -> None:
    assert slots(10, 3, limiter=anyio.CapacityLimiter(5)).most == 5


@pytest.mark.parametrize("fanout", [10, None])
async def test_fanout_is_lowered_to_the_room_for_descriptors_and_told(fanout: int | None) -> None:
    log = Log()
    with room_for(3 * DESCRIPTORS + 1):
        lowered = slots(10, fanout, log=log)
    assert lowered.most == 3
    assert log.said == [("lowered", 10, 3), ("started", 10, 3)]


async def test_one_is_in_flight_even_if_there_is_no_room() -> None:
    log = Log()
    with room_for(0):
        lowered = slots(10, 10, log=log)
        assert lowered.most == 1
        await lowered.acquire("a")
        lowered.release("a")
    assert log.said == [("lowered", 10, 1), ("started", 10, 1)]


# acquire and release


async def test_owner_beyond_the_fanout_waits_for_a_release() -> None:
    two = slots(10, 2)
    await two.acquire("a")
    await two.acquire("b")
    third = asyncio.create_task(two.acquire("c"))
    await turns()
    assert not third.done()
    two.release("a")
    async with asyncio.timeout(PATIENCE):
        await third
    two.release("b")
    two.release("c")


async def test_owners_are_served_in_their_order() -> None:
    one = slots(10, 1)
    await one.acquire("first")
    served: list[int] = []

    async def wait(number: int) -> None:
        await one.acquire(number)
        served.append(number)
        one.release(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(wait(number))
        await turns()
        one.release("first")
    assert served == [0, 1, 2, 3, 4]


async def test_owner_waits_for_descriptors_that_another_run_holds() -> None:
    with room_for(2 * DESCRIPTORS):
        ours, theirs = slots(10, 2), slots(10, 2)
    for owner in ("a", "b"):
        await theirs.acquire(owner)
    waiting = asyncio.create_task(ours.acquire("c"))
    await turns()
    assert not waiting.done()
    theirs.release("a")
    async with asyncio.timeout(PATIENCE):
        await waiting
    theirs.release("b")
    ours.release("c")


async def test_owner_that_is_cancelled_while_it_waits_for_descriptors_frees_its_place_in_the_fanout() -> None:
    with room_for(DESCRIPTORS):
        ours, theirs = slots(10, 1), slots(10, 1)
    await theirs.acquire("a")
    waiting = asyncio.create_task(ours.acquire("b"))
    await turns()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    theirs.release("a")
    async with asyncio.timeout(PATIENCE):
        await ours.acquire("c")
    ours.release("c")


async def test_owner_that_is_cancelled_while_it_waits_for_the_fanout_takes_nothing() -> None:
    one = slots(10, 1)
    await one.acquire("a")
    waiting = asyncio.create_task(one.acquire("b"))
    await turns()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    one.release("a")
    async with asyncio.timeout(PATIENCE):
        await one.acquire("c")
    one.release("c")


# whole runs that share a limiter


def test_limiter_bounds_two_runs_together(stand_in: Callable[..., Ssh], new_loop: NewLoop, tmp_path: Path) -> None:
    ssh = stand_in(f"mkdir {tmp_path}/on-$$; ls -d {tmp_path}/on-* | wc -l; sleep 0.02; rmdir {tmp_path}/on-$$")

    async def main() -> list[Any]:
        limiter = anyio.CapacityLimiter(3)
        hosts = [f"web{n}" for n in range(10)]
        reports = await asyncio.gather(*(fan_out(hosts, "true", fanout=limiter, ssh=ssh) for _ in range(2)))
        assert limiter.borrowed_tokens == 0
        return reports

    reports = on(new_loop, main)
    together = [int(outcome.stdout) for report in reports for outcome in report]
    assert len(together) == 20
    assert max(together) == 3


def test_limiter_is_free_again_after_cancellation(stand_in: Callable[..., Ssh], new_loop: NewLoop) -> None:
    ssh = stand_in("exec sleep 60")

    async def main() -> None:
        limiter = anyio.CapacityLimiter(2)
        for turns in range(0, 60, 3):
            task = asyncio.ensure_future(fan_out(["web1", "web2", "web3"], "true", fanout=limiter, ssh=ssh))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: limiter.borrowed_tokens == 0)

    on(new_loop, main)
