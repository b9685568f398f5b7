from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from sshfan_async import Fleet, Ssh, Status
from sshfan_async.sshlog.server import MasterLog
from tests.support import processes
from tests.support.listeners import listening, stall

if TYPE_CHECKING:
    import pytest

    from sshfan_async.testing import SshdFleet


async def test_host_that_stalls_ends_at_the_connect_timeout(own_server: SshdFleet) -> None:
    with listening(stall) as listener:
        own_server.add_host("stalls", options={"HostName": "127.0.0.1", "Port": str(listener.port)})
        async with Fleet([*own_server.hosts, "stalls"], ssh=own_server.ssh, connect_timeout=1.0) as fleet:
            outcome = fleet.status["stalls"]
            assert (outcome.status, outcome.clock) == (Status.TIMED_OUT, "connect_timeout")
            assert (await fleet.hosts(own_server.hosts).run("true")).ok


async def test_frozen_link_loses_what_runs(own_server: SshdFleet, output_came: asyncio.Event) -> None:
    ssh = Ssh(config_file=own_server.ssh_config, options={"ServerAliveInterval": 1, "ServerAliveCountMax": 1})
    async with Fleet(own_server.hosts[0], ssh=ssh) as fleet:
        running = asyncio.create_task(fleet.run("echo begun; exec sleep 30", on_stop="leave"))
        await output_came.wait()
        processes.stop_servers(own_server.sshd_pid)
        (outcome,) = await running
        processes.signal_servers(own_server.sshd_pid, signal.SIGKILL)
        assert outcome.status is Status.LOST
        assert "not responding" in outcome.reason


async def test_master_writes_no_log_of_a_command(own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message is logged here, except for those that the patterns for masters exclude."""
    monkeypatch.setattr("sshfan_async.process.argv._LOG_VERBOSE", ("*",))
    log, feed = [], MasterLog.feed

    def noted(self: MasterLog, data: bytes, at: float) -> bool:
        log.append(data)
        return feed(self, data, at)

    monkeypatch.setattr(MasterLog, "feed", noted)
    counts = []
    for commands in (1, 20):
        log.clear()
        async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
            for _ in range(commands):
                await fleet.run("true")
        counts.append(b"".join(log).count(b"\n"))
    assert counts[0] > 50
    assert counts[1] - counts[0] < 19
