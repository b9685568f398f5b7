from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sshfan_async.spawning import SpawnGate, spawn_gate

if TYPE_CHECKING:
    import pytest

STALL = 0.03


async def test_one_child_is_made_at_a_time() -> None:
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


async def test_after_a_spawn_that_stalled_the_loop_the_next_one_waits() -> None:
    gate = SpawnGate()
    async with gate:
        time.sleep(STALL)  # as a spawn does where all CPUs are busy
    ended = time.monotonic()
    async with gate:
        assert time.monotonic() - ended > STALL


async def test_whoever_made_the_child_goes_on_while_the_others_rest() -> None:
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
    monkeypatch.setattr("sshfan_async.spawning._NOTABLE", 60.0)
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
