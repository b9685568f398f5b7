"""What a finished host costs for the time of the run: nothing that the garbage collector visits, and few bytes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from sshfan_async import Ssh, Target, fan_out, stream
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HOSTS = 300
_TRUE = Ssh(program="/bin/true")


def names() -> list[str]:
    return [f"web{number:03}" for number in range(_HOSTS)]


def tracked() -> int:
    gc.collect()
    return len(gc.get_objects())


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def nth_of_stream(hosts: list[str], *numbers: int, measure: Callable[[], int]) -> list[int]:
    """Measure when each of `numbers` outcomes of a stream has been received and dropped."""
    found: list[int] = []
    ended = 0
    async with stream(hosts, "true", fanout=1, ssh=_TRUE) as outcomes:
        async for _ in outcomes:
            ended += 1
            if ended in numbers:
                found.append(measure())
    return found


async def test_host_leaves_no_object_for_the_garbage_collector_in_stream() -> None:
    hosts = names()
    await nth_of_stream(hosts[:2], 1, measure=tracked)
    (few,) = await nth_of_stream(hosts[:2], 1, measure=tracked)
    (many,) = await nth_of_stream(hosts, _HOSTS - 1, measure=tracked)
    assert many - few < _HOSTS / 10


@pytest.mark.usefixtures("traced")
async def test_finished_host_leaves_no_byte_in_stream() -> None:
    hosts = names()
    # On Python 3.12 and 3.13, anyio keeps some KB from the first thousand receives of a process, and no more later.
    for _ in range(3):
        await nth_of_stream(hosts, 1, measure=traced_bytes)
    early, late = await nth_of_stream(hosts, 100, _HOSTS - 1, measure=traced_bytes)
    assert (late - early) / (_HOSTS - 101) < 16


async def test_outcome_in_a_report_is_no_object_for_the_garbage_collector() -> None:
    hosts = names()
    await fan_out(hosts[:2], "true", ssh=_TRUE)
    before = tracked()
    report = await fan_out(hosts, "true", ssh=_TRUE)
    assert report.ok
    assert tracked() - before < _HOSTS / 2


@pytest.mark.usefixtures("traced")
async def test_outcome_in_a_report_takes_few_bytes() -> None:
    hosts = names()
    await fan_out(hosts, "true", ssh=_TRUE)
    before = traced_bytes()
    report = await fan_out(hosts, "true", ssh=_TRUE)
    assert report.ok
    assert (traced_bytes() - before) / _HOSTS < 300


async def test_targets_that_only_the_call_holds_are_freed_while_it_runs(stand_in: Callable[..., Ssh]) -> None:
    def alive() -> int:
        return sum(type(each) is Target for each in gc.get_objects())

    before, ssh = alive(), stand_in("exec sleep 60")
    run = asyncio.create_task(fan_out([Target(name) for name in names()], "true", fanout=2, ssh=ssh))
    try:
        await until(lambda: alive() < before + 10)
        assert not run.done()
    finally:
        run.cancel()
        await asyncio.wait([run])
