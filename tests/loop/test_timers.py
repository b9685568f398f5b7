from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async.loop.timers import Timers

if TYPE_CHECKING:
    from sshfan_async.loop.timers import Timer


class Clock:
    """The clock of the running loop, under control."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def timers() -> Timers:
    return Timers(asyncio.get_running_loop())


def scheduled() -> int:
    """Return how many timers of the loop itself are set."""
    loop: Any = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)


async def test_calls_are_made_in_order_of_their_times(clock: Clock) -> None:
    made: list[str] = []
    at = timers().call_at
    for when, name in ((1003, "c"), (1001, "a"), (1002, "b"), (1002, "b2")):
        at(when, partial(made.append, name))
    await clock.advance(0.5)
    assert made == []
    await clock.advance(0.5)
    assert made == ["a"]
    await clock.advance(5)
    assert made == ["a", "b", "b2", "c"]


async def test_cancelled_call_is_not_made_even_in_its_own_turn(clock: Clock) -> None:
    made: list[str] = []
    ours = timers()
    later: Timer
    ours.call_at(1001, lambda: later.cancel())
    later = ours.call_at(1001, lambda: made.append("cancelled"))
    ours.call_at(1001, lambda: made.append("last"))
    await clock.advance(1)
    assert made == ["last"]
    later.cancel()


async def test_error_in_a_call_reaches_the_loops_handler_and_stops_no_other(clock: Clock) -> None:
    made: list[str] = []
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
    ours = timers()
    error = ValueError("of the call")

    def fail() -> None:
        raise error

    ours.call_at(1001, fail)
    ours.call_at(1001, lambda: made.append("next"))
    ours.call_at(1002, lambda: made.append("later"))
    await clock.advance(1)
    await clock.advance(1)
    assert seen == [error]
    assert made == ["next", "later"]


async def test_call_can_set_the_next_one(clock: Clock) -> None:
    made: list[float] = []
    ours = timers()

    def again() -> None:
        made.append(clock.now)
        ours.call_later(1, again)

    ours.call_later(1, again)
    for _ in range(3):
        await clock.advance(1)
    assert made == [1001, 1002, 1003]


@pytest.mark.usefixtures("clock")
async def test_any_number_of_timers_needs_one_of_the_loop() -> None:
    before = scheduled()
    ours = timers()
    for number in range(1000):
        ours.call_at(2000 + number, lambda: None)
    assert scheduled() == before + 1


@pytest.mark.usefixtures("clock")
async def test_cancelled_timers_are_not_kept() -> None:
    class Owner:
        """Has a timer, as an attempt has."""

        def __init__(self) -> None:
            self.timer = ours.call_at(2000, self.expire)

        def expire(self) -> None:
            raise AssertionError("it was cancelled")

    ours, before = timers(), scheduled()
    for _ in range(1000):
        Owner().timer.cancel()
    assert not [each for each in gc.get_objects() if isinstance(each, Owner)]
    assert len(ours._heap) < 100
    kept = ours.call_at(1500, lambda: None)
    assert scheduled() == before + 1
    kept.cancel()
