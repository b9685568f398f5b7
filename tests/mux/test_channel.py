from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from sshfan_async.mux.wire import WINDOW
from tests.support.mux import Session, run

if TYPE_CHECKING:
    from sshfan_async.mux.connection import Connection


async def test_output_error_output_and_exit_code_arrive(connection: Connection) -> None:
    session = await run(connection, "echo out; echo err >&2; exit 7")
    assert (session.out, session.err) == (b"out\n", b"err\n")
    assert session.told == [("exec", True), ("exited", 7)]


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV"])
async def test_death_by_signal_tells_the_signals_name(connection: Connection, name: str) -> None:
    session = await run(connection, f"kill -{name} $$")
    assert session.told == [("exec", True), ("signalled", name)]


async def test_standard_input_arrives_whole_and_ends(connection: Connection) -> None:
    given = os.urandom(3 * WINDOW)
    session = await run(connection, "cat", stdin=given)
    assert session.out == given


async def test_command_that_reads_no_input_ends_all_the_same(connection: Connection) -> None:
    session = await run(connection, "exit 3", stdin=bytes(3 * WINDOW))
    assert ("exited", 3) in session.told


async def test_variable_that_the_host_accepts_is_set(connection: Connection) -> None:
    session = await run(connection, 'echo "$GREETING"', variables={"GREETING": "hail", "OTHER": "x"})
    assert session.out == b"hail\n"


async def test_reader_that_takes_nothing_holds_the_host_back(connection: Connection) -> None:
    session = Session("head -c 20000000 /dev/zero; echo written >&2")
    session.channel = connection.open_channel(session)
    session.channel.pause()
    await session.begun.wait()
    while len(session.out) < WINDOW:
        await asyncio.sleep(0)
    await run(connection, "true")  # all data under way has arrived by now
    assert len(session.out) == WINDOW
    assert session.err == b""
    session.channel.resume()
    await session.done
    assert len(session.out) == 20_000_000


async def test_closing_a_channel_leaves_the_others(connection: Connection) -> None:
    stays, goes = Session("cat", stdin=None), Session("cat", stdin=None)
    for session in (stays, goes):
        session.channel = connection.open_channel(session)
        await session.begun.wait()
    goes.channel.close()
    await goes.done
    assert goes.told[:1] == [("exec", True)]
    stays.channel.write_eof()
    await stays.done
    assert stays.told == [("exec", True), ("exited", 0)]


async def test_signal_is_answered_by_what_the_host_did(connection: Connection) -> None:
    session = Session("exec cat", stdin=None)
    session.channel = connection.open_channel(session)
    await session.begun.wait()
    session.begun.clear()
    session.channel.signal("TERM")
    await session.begun.wait()
    session.channel.write_eof()
    await session.done
    # sshd before 9.8 refuses it in a session of root (session.c: session_signal_req).
    assert session.told[1:] in (
        [("signal", False), ("exited", 0)],
        [("signal", True), ("signalled", "TERM")],
    )
