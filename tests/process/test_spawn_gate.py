from __future__ import annotations

import asyncio
import errno
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import Ssh, fan_out
from sshfan_async.process.spawn_gate import _SLOW, SpawnGate, spawn_gate
from tests.support.loops import Turns
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

STALL = 0.03


def nothing() -> None:
    pass


def stall() -> None:
    """Block the loop, as a spawn does if all CPUs are busy."""
    time.sleep(STALL)


def fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


class Shortage:
    """A spawn that fails with `number` until `end` is called; counts its calls."""

    def __init__(self, number: int = errno.EAGAIN) -> None:
        self.calls, self._number = 0, number

    def end(self) -> None:
        self._number = 0

    def __call__(self) -> int:
        self.calls += 1
        if self._number:
            fail(self._number)
        return self.calls


async def test_one_child_is_spawned_at_a_time() -> None:
    gate, making, most = SpawnGate(), 0, 0

    def begin() -> None:
        nonlocal making, most
        making += 1
        most = max(most, making)
        asyncio.get_running_loop().call_soon(end)

    def end() -> None:
        nonlocal making
        making -= 1

    async def make() -> None:
        await gate.start(begin)

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
        await gate.start(lambda: turns.append(turn))

    count()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(make())
    assert len(set(turns)) == 5


async def test_cleared_returns_at_once_if_nobody_waits() -> None:
    gate = SpawnGate()
    await gate.start(nothing)
    with pytest.raises(StopIteration):
        gate.cleared().send(None)


async def test_cleared_returns_when_every_waiter_has_had_its_turn() -> None:
    gate, made = SpawnGate(), []

    async def make(number: int) -> None:
        await gate.start(lambda: made.append(number))

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(make(number))
        await asyncio.sleep(0)
        assert made == [0]
        await gate.cleared()
        assert made == [0, 1, 2]


async def test_after_a_spawn_that_stalled_the_loop_the_next_one_waits() -> None:
    gate = SpawnGate()
    await gate.start(stall)
    ended = time.monotonic()
    await gate.start(nothing)
    assert time.monotonic() - ended > STALL - 2 * _SLOW


async def test_task_that_spawned_goes_on_while_the_others_pause() -> None:
    gate = SpawnGate()
    async with asyncio.timeout(5):
        await gate.start(stall)
        others = asyncio.ensure_future(gate.alone.acquire())
        await asyncio.sleep(0)
        assert not others.done()
        await others


async def test_after_a_quick_spawn_the_next_one_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = SpawnGate()
    monkeypatch.setattr("sshfan_async.process.spawn_gate._SLOW", 60.0)
    await gate.start(nothing)
    turn = asyncio.ensure_future(gate.alone.acquire())
    await asyncio.sleep(0)
    assert turn.done()


async def test_a_spawn_that_fails_leaves_the_gate_open() -> None:
    gate = SpawnGate()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            async with asyncio.timeout(5):
                await gate.start(lambda: fail(errno.ENOENT))


# shortages


@pytest.fixture
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the end of a command wakes a spawn."""
    monkeypatch.setattr("sshfan_async.process.spawn_gate._FIRST_WAIT", 3600.0)
    monkeypatch.setattr("sshfan_async.process.spawn_gate._LONGEST_WAIT", 3600.0)


@pytest.mark.usefixtures("long_waits")
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_shortage_waits_for_the_end_of_a_command(number: int) -> None:
    gate, spawn = SpawnGate(), Shortage(number)
    told: list[OSError] = []
    gate.command_started()
    starting = asyncio.create_task(gate.start(spawn, short=told.append))
    await until(lambda: spawn.calls == 1)
    gate.command_ended()
    await until(lambda: spawn.calls == 2)
    spawn.end()
    gate.command_started()
    gate.command_ended()
    assert await starting == 3
    assert [error.errno for error in told] == [number]


async def test_shortage_that_passes_by_itself_is_noticed() -> None:
    gate, spawn = SpawnGate(), Shortage()
    starting = asyncio.create_task(gate.start(spawn))
    await until(lambda: spawn.calls == 2)
    spawn.end()
    assert await starting == 3


async def test_nobody_else_spawns_during_a_shortage() -> None:
    gate, short, other = SpawnGate(), Shortage(), Shortage(0)
    starting = [asyncio.create_task(gate.start(short)), asyncio.create_task(gate.start(other))]
    await until(lambda: short.calls == 3)
    assert other.calls == 0
    short.end()
    assert await asyncio.gather(*starting) == [4, 1]


async def test_lasting_shortage_fails_if_no_command_is_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sshfan_async.process.spawn_gate._PATIENCE", 0.1)
    gate, spawn = SpawnGate(), Shortage()
    with pytest.raises(BlockingIOError):
        await gate.start(spawn)
    calls = spawn.calls
    with pytest.raises(BlockingIOError):
        await gate.start(spawn)
    assert spawn.calls == calls + 1  # the shortage is the same one: no second wait


async def test_after_a_success_a_shortage_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sshfan_async.process.spawn_gate._PATIENCE", 0.1)
    gate, spawn = SpawnGate(), Shortage()
    with pytest.raises(BlockingIOError):
        await gate.start(spawn)
    await gate.start(nothing)
    spawn.calls = 0
    with pytest.raises(BlockingIOError):
        await gate.start(spawn)
    assert spawn.calls > 1


async def test_shortage_ends_at_the_given_time() -> None:
    gate, spawn = SpawnGate(), Shortage()
    gate.command_started()
    with pytest.raises(TimeoutError):
        await gate.start(spawn, until=time.monotonic() + 0.05)
    await gate.start(nothing)


async def test_cancellation_during_a_shortage_opens_the_gate() -> None:
    gate, spawn = SpawnGate(), Shortage()
    starting = asyncio.create_task(gate.start(spawn))
    await until(lambda: spawn.calls == 1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with asyncio.timeout(5):
        await gate.start(nothing)


async def test_a_loop_has_one_gate() -> None:
    assert spawn_gate() is spawn_gate()


@pytest.mark.parametrize("runs", [1, 20])
async def test_one_child_is_started_per_turn_of_the_loop(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    ssh = stand_in("exit 0")
    turns, start = Turns(), asyncio.create_subprocess_exec
    starts: list[int] = []

    async def counted(*arguments: Any, **options: Any) -> Any:
        starts.append(turns.number)
        return await start(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", counted)
    hosts = [f"web{n}" for n in range(40 // runs)]
    async with turns:
        await asyncio.gather(*(fan_out(hosts, "true", ssh=ssh) for _ in range(runs)))
    assert len(starts) >= 40
    assert len(set(starts)) == len(starts)
