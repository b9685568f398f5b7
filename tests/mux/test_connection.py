from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from sshfan_async.mux.connection import Connection, open_connection
from tests.support.mux import Master, Session, run
from tests.support.packets import Writes

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet


async def test_many_commands_run_at_once_over_one_connection(connection: Connection) -> None:
    sessions = await asyncio.gather(*(run(connection, f"echo {number}") for number in range(4)))
    assert [session.out for session in sessions] == [b"%d\n" % number for number in range(4)]


async def test_session_beyond_the_hosts_limit_is_refused_and_the_others_go_on(
    limited_fleet: SshdFleet, sockets: Path
) -> None:
    # Not the shared master: after a refusal it dies with the proxy connection ("chan_send_close2: no remote_id").
    master = Master(limited_fleet, sockets)
    connection = await open_connection(master.path)
    held = [Session("cat", stdin=None) for _ in range(4)]
    for session in held:
        session.channel = connection.open_channel(session)
        await session.begun.wait()
    refused = await run(connection, "true")
    assert refused.told == [("refused", "open failed")]
    for session in held:
        session.channel.write_eof()
        await session.done
        assert ("exited", 0) in session.told
    connection.close()
    master.end()


async def test_death_of_the_master_loses_what_runs_with_its_output(limited_fleet: SshdFleet, sockets: Path) -> None:
    master = Master(limited_fleet, sockets)
    connection = await open_connection(master.path)
    session = Session("echo begun; exec sleep 60")
    session.channel = connection.open_channel(session)
    await session.first_output.wait()
    master.end()
    reason = await connection.closed
    connection.abandon(reason or "gone")
    assert session.told[-1] == ("lost", "gone")
    assert session.out == b"begun\n"


async def test_writes_that_take_long_are_spread_over_turns(
    shared_master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.mux.connection._WRITE_SECONDS", 0.0)
    connections = [await open_connection(shared_master.path) for _ in range(3)]
    writes = [Writes(connection) for connection in connections]
    sessions = [Session("true") for _ in connections]
    for session, connection in zip(sessions, connections, strict=True):
        session.channel = connection.open_channel(session)
    for turns in range(1, 4):
        await asyncio.sleep(0)
        assert [len(each.each) for each in writes] == turns * [1] + (3 - turns) * [0]
    for session, connection in zip(sessions, connections, strict=True):
        await session.done
        connection.close()
        await connection.closed


async def test_socket_without_a_listener_is_an_error(sockets: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await open_connection(os.fspath(sockets / "nobody"))
