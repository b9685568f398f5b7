"""The timer of one attempt, on the clock of a real event loop."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import pytest

from sshfan_async.engine.flow import Flow
from sshfan_async.engine.timeouts import Timeouts
from sshfan_async.loop.timers import Timers
from sshfan_async.settings import Clocks

if TYPE_CHECKING:
    from sshfan_async.outcome import Clock

CLOCKS = Clocks(connect_timeout=0.02, timeout=0.02)


class Fired:
    def __init__(self) -> None:
        self.clock: asyncio.Future[Clock] = asyncio.get_running_loop().create_future()

    def __call__(self, clock: Clock) -> None:
        self.clock.set_result(clock)

    async def wait(self) -> Clock:
        async with asyncio.timeout(5):
            return await self.clock


def timers() -> Timers:
    return Timers(asyncio.get_running_loop())


def flow(*, deadline: float = math.inf) -> Flow:
    return Flow(deadline=deadline, followed=True)


async def test_before_the_command_is_sent_the_connect_timeout_fires() -> None:
    fired = Fired()
    Timeouts(CLOCKS, flow(), timers(), time.monotonic(), fired).arm(None)
    assert await fired.wait() == "connect_timeout"


async def test_after_the_command_is_sent_the_timeout_fires() -> None:
    fired = Fired()
    timeouts = Timeouts(CLOCKS, flow(), timers(), time.monotonic(), fired)
    timeouts.arm(None)
    timeouts.sent(time.monotonic())
    assert await fired.wait() == "timeout"


@pytest.mark.parametrize("is_sent", [False, True])
async def test_deadline_that_comes_first_is_the_one_that_fires(is_sent: bool) -> None:
    fired, now = Fired(), time.monotonic()
    Timeouts(Clocks(connect_timeout=30, timeout=30), flow(deadline=now + 0.02), timers(), now, fired).arm(
        now if is_sent else None
    )
    assert await fired.wait() == "deadline"


async def test_without_a_limit_no_timer_is_set() -> None:
    timeouts = Timeouts(Clocks(connect_timeout=None), flow(), timers(), time.monotonic(), Fired())
    timeouts.arm(None)
    assert timeouts._timer is None


async def test_pause_stops_all_clocks_but_the_connect_timeout() -> None:
    fired, run = Fired(), flow(deadline=time.monotonic() + 0.02)
    run.pause()
    timeouts = Timeouts(CLOCKS, run, timers(), time.monotonic(), fired)
    timeouts.arm(time.monotonic())
    assert timeouts._timer is None
    run.resume()


async def test_timeout_is_extended_by_the_pause() -> None:
    fired, now = Fired(), time.monotonic()
    timeouts = Timeouts(Clocks(timeout=1), flow(), timers(), now, fired)
    timeouts.arm(now)
    timeouts.resumed(now - 1, now)
    before = timeouts._timer
    assert before is not None
    timeouts.resumed(now, now)
    assert timeouts._timer is not None
    assert timeouts._timer.when > before.when
    timeouts.cancel()


async def test_cancelled_clock_does_not_fire_and_is_not_armed_again() -> None:
    fired = Fired()
    timeouts = Timeouts(CLOCKS, flow(), timers(), time.monotonic(), fired)
    timeouts.arm(None)
    timer = timeouts._timer
    assert timer is not None
    timeouts.cancel()
    timeouts.arm(time.monotonic())
    assert timer.callback is None
    assert timeouts._timer is timer
