from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from sshfan_async import Fleet, FleetUnavailable, Phase, Ssh, Status
from tests.support import processes
from tests.support.cancellation import CANCELLATIONS, Cancellation
from tests.support.fleets import directories, remote_after_a_stop
from tests.support.listeners import listening, stall

if TYPE_CHECKING:
    from collections.abc import Callable

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


@pytest.mark.parametrize("cancellation", CANCELLATIONS, ids=str)
async def test_cancellation_in_any_turn_of_opening_leaves_nothing(
    cancellation: Cancellation, stand_in: Callable[..., Ssh]
) -> None:
    ssh = stand_in("exec sleep 60")

    async def open_fleet() -> None:
        async with Fleet(["web1", "web2"], ssh=ssh):
            pass

    await cancellation.after(100, open_fleet)  # the program is known from now on
    before, open_before = processes.children(), processes.descriptors()
    for turns in range(40):
        task = await cancellation.after(turns, open_fleet)
        assert task.cancelled()
        assert processes.children() == before
    assert processes.descriptors().keys() <= open_before.keys()


def test_end_of_asyncio_run_in_any_turn_of_opening_leaves_nothing(stand_in: Callable[..., Ssh]) -> None:
    ssh = stand_in("exec sleep 60")

    async def open_fleet() -> None:
        async with Fleet(["web1", "web2"], ssh=ssh):
            pass

    async def main(turns: int) -> asyncio.Task[None]:
        task = asyncio.create_task(open_fleet())
        for _ in range(turns):
            await asyncio.sleep(0)
        return task

    asyncio.run(main(100))
    before, open_before = processes.children(), processes.descriptors()
    for turns in range(40):
        assert asyncio.run(main(turns)).cancelled()
        assert processes.children() == before
    assert processes.descriptors().keys() <= open_before.keys()


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
