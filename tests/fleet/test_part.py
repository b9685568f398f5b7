from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sshfan_async import Fleet, InvalidSetting, InvalidTarget, Target

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet


async def test_part_of_a_fleet_runs_on_its_hosts_alone(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        part = fleet.hosts([stock_fleet.hosts[2], Target(stock_fleet.hosts[0])])
        assert [outcome.host for outcome in await part.run("true")] == [stock_fleet.hosts[2], stock_fleet.hosts[0]]
        assert len(part.status) == 2
        with pytest.raises(InvalidTarget, match="'elsewhere' is not in this fleet"):
            fleet.hosts("elsewhere")


async def test_command_that_cannot_be_sent_is_refused(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        with pytest.raises(InvalidSetting, match="empty"):
            await fleet.run("")
