from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import Ssh, fan_out
from sshfan_async.process.spawn_gate import SpawnGate, spawn_gate

if TYPE_CHECKING:
    from collections.abc import Callable

STALL = 0.03


async def test_one_child_is_spawned_at_a_time() -> None:
    gate, making, most = SpawnGate(), 0, 0

    async def make() -> None:
        nonlocal making, most
        async with gate:
            making += 1
            most = max(most, making)
            await asyncio.sleep(0)
            making -= 1

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(make())
    assert most == 1


async def test_no_two_children_are_started_in_one_turn_of_the_loop() -> None:
    gate, turn = SpawnGate(), 0
    turns: list[int] = []
    loop = asyncio.get_running_loop()

    def count() -> None:
        nonlocal turn
        turn += 1
        counting = loop.call_soon(count)
        if len(turns) == 5:
            counting.cancel()

    async def make() -> None:
        async with gate:
            turns.append(turn)

    count()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(make())
    assert len(set(turns)) == 5


async def test_cleared_returns_at_once_if_nobody_waits() -> None:
    gate = SpawnGate()
    async with gate:
        clearing = gate.cleared()
        with pytest.raises(StopIteration):
            clearing.send(None)


async def test_cleared_returns_when_every_waiter_has_had_its_turn() -> None:
    gate, made = SpawnGate(), []

    async def make(number: int) -> None:
        async with gate:
            made.append(number)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(make(number))
        await asyncio.sleep(0)
        assert made == [0]
        await gate.cleared()
        assert made == [0, 1, 2]


async def test_after_a_spawn_that_stalled_the_loop_the_next_one_waits() -> None:
    gate = SpawnGate()
    async with gate:
        time.sleep(STALL)  # as a spawn does if all CPUs are busy
    ended = time.monotonic()
    async with gate:
        assert time.monotonic() - ended > STALL


async def test_task_that_spawned_goes_on_while_the_others_pause() -> None:
    gate = SpawnGate()
    async with asyncio.timeout(5):
        async with gate:
            time.sleep(STALL)
        others = asyncio.ensure_future(gate.alone.acquire())
        await asyncio.sleep(0)
        assert not others.done()
        await others


async def test_after_a_quick_spawn_the_next_one_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = SpawnGate()
    monkeypatch.setattr("sshfan_async.process.spawn_gate._SLOW", 60.0)
    async with gate:
        pass
    turn = asyncio.ensure_future(gate.alone.acquire())
    await asyncio.sleep(0)
    assert turn.done()


async def test_a_spawn_that_fails_leaves_the_gate_open() -> None:
    gate = SpawnGate()
    for _ in range(2):
        try:
            async with asyncio.timeout(5), gate:
                raise OSError
        except OSError:
            pass


async def test_a_loop_has_one_gate() -> None:
    assert spawn_gate() is spawn_gate()


@pytest.mark.parametrize("runs", [1, 20])
async def test_one_child_is_started_per_turn_of_the_loop(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    ssh = stand_in("exit 0")
    turn = 0
    starts: list[int] = []
    start = asyncio.create_subprocess_exec

    async def counted(*arguments: Any, **options: Any) -> Any:
        starts.append(turn)
        return await start(*arguments, **options)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", counted)
    counting = asyncio.create_task(count_turns())
    hosts = [f"web{n}" for n in range(40 // runs)]
    await asyncio.gather(*(fan_out(hosts, "true", ssh=ssh) for _ in range(runs)))
    counting.cancel()
    assert len(starts) >= 40
    assert len(set(starts)) == len(starts)
