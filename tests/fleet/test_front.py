from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import pytest

from sshfan_async import Fleet, InvalidSetting

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet


async def test_stream_gives_outcomes_as_they_come(stock_fleet: SshdFleet) -> None:
    async with (
        Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet,
        fleet.stream("case $SSH_CONNECTION in *) echo here;; esac") as outcomes,
    ):
        found = [outcome async for outcome in outcomes]
    assert sorted(outcome.host for outcome in found) == list(stock_fleet.hosts)


async def test_leaving_a_stream_early_ends_what_runs(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        began = time.monotonic()
        async with fleet.stream("sleep 60") as outcomes:
            assert outcomes is not None
        assert time.monotonic() - began < 20
        assert (await fleet.run("true")).ok


async def test_stream_that_is_refused_leaves_nothing_open(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        with pytest.raises(InvalidSetting, match="empty"):
            fleet.stream("")
        gc.collect()  # a stream that is not closed warns here, and warnings are errors
