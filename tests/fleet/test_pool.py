from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from sshfan_async import Fleet, FleetUnavailable, Phase, Ssh, Status
from tests.support import processes
from tests.support.fleets import directories, remote_after_a_stop
from tests.support.listeners import listening, stall

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet


async def test_entering_connects_every_host_and_tells_its_phases(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        status = fleet.status
        assert [outcome.host for outcome in status] == list(stock_fleet.hosts)
        assert status.ok
        for outcome in status:
            assert outcome.attempts == 1
            assert not outcome.sent
            assert [phase for phase, _ in outcome.phases] == [
                Phase.QUEUED, Phase.RESOLVE, Phase.CONNECT, Phase.HANDSHAKE, Phase.AUTH,
            ]  # fmt: skip
    assert [outcome.status for outcome in fleet.status] == 3 * [Status.NOT_RUN]


async def test_missing_program_is_an_error() -> None:
    with pytest.raises(FleetUnavailable, match="no such program"):
        async with Fleet("web1", ssh=Ssh(program="no-such-ssh")):
            pass


async def test_cancellation_while_connecting_leaves_nothing(own_server: SshdFleet) -> None:
    with listening(stall) as listener:
        own_server.add_host("stalls", options={"HostName": "127.0.0.1", "Port": str(listener.port)})

        async def enter() -> None:
            async with Fleet([*own_server.hosts, "stalls"], ssh=own_server.ssh):
                pass

        entering = asyncio.create_task(enter())
        await processes.until(lambda: listener.accepted > 0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering


async def test_leaving_the_fleet_ends_its_runs(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        running = asyncio.create_task(fleet.run("echo $$; exec sleep 60"))
        assert (await fleet.run("true")).ok
        expected = remote_after_a_stop(fleet)
    (outcome,) = await running
    assert outcome.status is Status.CANCELLED
    assert outcome.remote == expected


async def test_leaving_ends_every_process_and_closes_every_descriptor(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        await fleet.run("true")
    before, children = processes.descriptors(), processes.children()
    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        assert not directories_of_ours()
        await fleet.run("true")
    assert processes.children() <= children
    assert processes.descriptors().keys() <= before.keys()


def directories_of_ours() -> list[str]:
    return [path for path in directories() if os.stat(path).st_uid == os.geteuid() and os.listdir(path)]
