from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sshfan_async import Fleet, Phase, Status
from tests.support import processes

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet


async def test_deadline_ends_what_runs_and_what_waits(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh, sessions=1) as fleet:
        running = asyncio.create_task(fleet.run("sleep 60", timeout=0.8))
        await asyncio.sleep(0)
        (outcome,) = await fleet.run("true", deadline=0.3)
        assert (outcome.status, outcome.clock, outcome.sent) == (Status.TIMED_OUT, "deadline", False)
        assert outcome.phase is Phase.QUEUED
        await running


async def test_cancellation_ends_the_commands_before_it_goes_on(stock_fleet: SshdFleet, tmp_path: Path) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        running = asyncio.create_task(fleet.run(f"echo $$ >{tmp_path}/pid; exec sleep 60"))
        await processes.until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        pid = int((tmp_path / "pid").read_text())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not processes.is_running(pid)
        assert (await fleet.run("true")).ok
