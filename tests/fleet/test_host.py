from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from sshfan_async import Fleet, Status
from tests.support import processes
from tests.support.fleets import master
from tests.support.listeners import listening, passing_on_to

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet


async def test_host_that_cannot_be_reached_is_named_and_the_others_run(own_server: SshdFleet) -> None:
    own_server.add_host("broken", options={"HostName": "127.0.0.1", "Port": "1"})
    own_server.add_host("stranger", options={"UserKnownHostsFile": "/dev/null"})
    async with Fleet([*own_server.hosts, "broken", "stranger"], ssh=own_server.ssh) as fleet:
        assert fleet.status["broken"].status is Status.UNREACHABLE
        assert "Connection refused" in fleet.status["broken"].reason
        assert fleet.status["stranger"].status is Status.HOST_KEY
        report = await fleet.run("echo here")
        assert [outcome.host for outcome in report if outcome.ok] == list(own_server.hosts)
        assert report["broken"].status is Status.UNREACHABLE
        assert not report["broken"].sent
        assert report["broken"].attempts == 0


async def test_host_that_was_not_reached_fails_at_once_for_a_while(own_server: SshdFleet) -> None:
    with listening(lambda number, connection: None) as listener:
        own_server.add_host("dead", options={"HostName": "127.0.0.1", "Port": str(listener.port)})
        async with Fleet("dead", ssh=own_server.ssh, retries=0) as fleet:
            assert fleet.status["dead"].status is Status.DROPPED
            tried = listener.accepted
            assert (await fleet.run("true"))["dead"].status is Status.DROPPED
            assert listener.accepted == tried


async def test_connection_that_was_dropped_is_tried_again(own_server: SshdFleet) -> None:
    with listening(passing_on_to(own_server.port, dropping=1)) as listener:
        own_server.add_host(
            "busy",
            options={
                "HostName": "127.0.0.1",
                "Port": str(listener.port),
                "HostKeyAlias": f"[127.0.0.1]:{own_server.port}",
            },
        )
        async with Fleet("busy", ssh=own_server.ssh) as fleet:
            assert fleet.status["busy"].ok
            assert fleet.status["busy"].attempts == 2


async def test_death_of_the_master_loses_what_runs_and_the_next_command_connects_again(
    own_server: SshdFleet, output_came: asyncio.Event
) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        running = asyncio.create_task(fleet.run("echo begun; exec sleep 30", on_stop="always"))
        await output_came.wait()
        os.kill(master(), signal.SIGKILL)
        (outcome,) = await running
        assert (outcome.status, outcome.sent, outcome.stdout) == (Status.LOST, True, b"begun\n")
        assert "the ssh master was killed on this machine by signal 9" in outcome.reason
        assert fleet.status.outcomes[0].status is Status.DROPPED
        assert (await fleet.run("true")).ok
        assert fleet.status.ok


async def test_end_of_the_servers_process_loses_what_runs(own_server: SshdFleet, output_came: asyncio.Event) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        running = asyncio.create_task(fleet.run("echo begun; exec sleep 30", on_stop="always"))
        await output_came.wait()
        processes.signal_servers(own_server.sshd_pid, signal.SIGKILL)
        (outcome,) = await running
        assert (outcome.status, outcome.stdout) == (Status.LOST, b"begun\n")
        assert "closed by remote host" in outcome.reason
        assert (await fleet.run("true")).ok


async def test_command_that_waited_is_sent_over_the_next_connection(
    own_server: SshdFleet, output_came: asyncio.Event
) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh, sessions=1) as fleet:
        first = asyncio.create_task(fleet.run("echo begun; exec sleep 5", on_stop="always"))
        second = asyncio.create_task(fleet.run("echo second"))
        await output_came.wait()
        os.kill(master(), signal.SIGKILL)
        assert (await first).outcomes[0].status is Status.LOST
        (outcome,) = await second
        assert (outcome.status, outcome.stdout, outcome.attempts) == (Status.OK, b"second\n", 1)


async def test_idle_connection_is_closed_and_made_again(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh, idle_timeout=0.2) as fleet:
        await processes.until(lambda: not fleet.status.ok, "the connection closed")
        assert "closed after 0.2 s without a command" in fleet.status.outcomes[0].reason
        assert not any(processes.name(pid) == "ssh" for pid in processes.children())
        assert (await fleet.run("sleep 0.4")).ok


async def test_old_connection_finishes_its_commands_and_takes_no_more(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh, max_age=0.3) as fleet:
        before = master()
        assert (await fleet.run("sleep 0.6")).ok
        assert (await fleet.run("true")).ok
        assert not processes.is_running(before)


# errors of our own


@pytest.mark.parametrize("where", ["fleet.master.phases", "sshlog.server.MasterLog.takes_signals"])
async def test_error_of_our_own_while_connecting_is_told_and_leaves_no_child(
    stock_fleet: SshdFleet, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("ours")

    before = processes.children()
    with monkeypatch.context() as context:
        context.setattr(f"sshfan_async.{where}", fail)
        async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh, retries=0) as fleet:
            (outcome,) = fleet.status
    assert (outcome.status, outcome.reason) == (Status.LOCAL, "internal error: ZeroDivisionError: ours")
    assert processes.children() == before
