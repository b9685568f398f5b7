from __future__ import annotations

import asyncio

import pytest

from sshfan_async.engine.pacing import Pacer, Passage

PEER = "10.0.0.1 port 22"


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def connect(pacer: Pacer, peer: str = PEER) -> Passage:
    passage = await pacer.enter(None)
    passage.identify(peer)
    return passage


async def drop(pacer: Pacer, peer: str = PEER) -> None:
    (await connect(pacer, peer)).end(dropped=True)


async def test_nothing_is_held_back_before_a_drop() -> None:
    pacer = Pacer()
    async with asyncio.timeout(1):
        for _ in range(500):
            await connect(pacer)


async def test_peer_that_drops_gets_few_at_a_time() -> None:
    pacer = Pacer()
    await drop(pacer)
    entered = [asyncio.create_task(pacer.enter(PEER)) for _ in range(20)]
    await settle()
    assert 1 <= sum(task.done() for task in entered) < 10
    for task in entered:
        task.cancel()


async def test_place_is_given_on_when_the_command_is_sent() -> None:
    pacer = Pacer()
    await drop(pacer)
    entered = [asyncio.create_task(pacer.enter(PEER)) for _ in range(20)]
    async with asyncio.timeout(1):
        for task in entered:
            (await task).succeed()


async def test_place_is_given_on_when_the_attempt_fails_for_another_reason() -> None:
    pacer = Pacer()
    await drop(pacer)
    async with asyncio.timeout(1):
        for task in [asyncio.create_task(pacer.enter(PEER)) for _ in range(20)]:
            (await task).end(dropped=False)


async def test_success_opens_the_way_again() -> None:
    pacer = Pacer()
    await drop(pacer)
    for _ in range(200):
        (await pacer.enter(PEER)).succeed()
    entered = [asyncio.create_task(pacer.enter(PEER)) for _ in range(12)]
    await settle()
    assert all(task.done() for task in entered)


async def test_peer_that_keeps_dropping_still_gets_one_at_a_time() -> None:
    pacer = Pacer()
    for _ in range(30):
        await drop(pacer)
    async with asyncio.timeout(1):
        (await pacer.enter(PEER)).end(dropped=True)


async def test_hosts_behind_one_bastion_are_held_back_together() -> None:
    pacer = Pacer()
    for _ in range(3):
        (await connect(pacer)).succeed()
    await drop(pacer)
    entered = [asyncio.create_task(connect(pacer)) for _ in range(20)]
    await settle()
    assert sum(task.done() for task in entered) < 10
    for task in entered:
        task.cancel()


async def test_one_server_of_many_holds_nobody_else_back() -> None:
    pacer = Pacer()
    for number in range(10):
        (await connect(pacer, f"10.0.0.{number} port 22")).succeed()
    await drop(pacer)
    async with asyncio.timeout(1):
        for number in range(20):
            await connect(pacer, f"10.0.1.{number} port 22")


async def test_cancelled_waiter_leaves_its_place_to_the_next() -> None:
    pacer = Pacer()
    await drop(pacer)
    inside = []
    waiting = [asyncio.create_task(pacer.enter(PEER)) for _ in range(20)]
    await settle()
    inside = [task for task in waiting if task.done()]
    first, *others = [task for task in waiting if not task.done()]
    inside[0].result().end(dropped=False)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await settle()
    assert any(task.done() for task in others)
    for task in others:
        task.cancel()


async def test_places_are_given_in_turn() -> None:
    pacer = Pacer()
    await drop(pacer)
    order: list[int] = []

    async def pass_through(number: int) -> None:
        passage = await pacer.enter(PEER)
        order.append(number)
        await asyncio.sleep(0)
        passage.succeed()

    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(pass_through(number))
    assert order == list(range(50))


async def test_expected_peer_counts_before_it_is_seen_in_the_log() -> None:
    pacer = Pacer()
    for _ in range(3):
        (await connect(pacer)).succeed()
    await drop(pacer)
    entered = [asyncio.create_task(pacer.enter(None)) for _ in range(20)]
    await settle()
    assert sum(task.done() for task in entered) < 10
    for task in entered:
        task.cancel()


async def test_attempt_that_went_elsewhere_leaves_its_place() -> None:
    pacer = Pacer()
    await drop(pacer)
    for _ in range(20):
        async with asyncio.timeout(1):
            (await pacer.enter(PEER)).identify("10.0.0.2 port 22")


async def test_success_is_told_once() -> None:
    passage = await connect(Pacer())
    assert passage.succeed()
    assert not passage.succeed()


async def test_memory_does_not_grow_with_the_number_of_peers() -> None:
    pacer = Pacer()
    for number in range(1000):
        (await connect(pacer, f"10.0.{number} port 22")).succeed()
    assert len(pacer._seen) < 100
    assert len(pacer._connecting) == 0


async def test_bastion_of_most_hosts_is_found_among_many_peers() -> None:
    pacer = Pacer()
    for number in range(1000):
        peer = f"10.0.{number} port 22" if number % 5 == 0 else PEER
        (await connect(pacer, peer)).succeed()
    await drop(pacer)
    entered = [asyncio.create_task(pacer.enter(None)) for _ in range(20)]
    await settle()
    assert sum(task.done() for task in entered) < 10
    for task in entered:
        task.cancel()
