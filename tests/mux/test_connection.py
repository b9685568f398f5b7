from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshfan_async import Target
from sshfan_async.mux.connection import Connection, open_connection
from sshfan_async.mux.wire import WINDOW, MuxError
from sshfan_async.process.argv import common_argv, master_argv
from sshfan_async.process.client import Client
from tests.support import processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sshfan_async.event import Stream
    from sshfan_async.mux.channel import Channel
    from sshfan_async.testing import SshdFleet
    from sshfan_async.testing.pytest_plugin import SshdFleetFactory


class Session:
    """Runs one command and notes what it is told."""

    def __init__(self, command: str, *, stdin: bytes | None = b"", variables: dict[str, str] | None = None) -> None:
        self.channel: Channel
        self.out = self.err = b""
        self.told: list[object] = []
        self.done = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()
        self.first_output = asyncio.Event()
        self._command = command
        self._variables = variables or {}
        self._left = stdin

    def opened(self) -> None:
        for name, value in self._variables.items():
            self.channel.set_variable(name, value)
        self.channel.execute(self._command.encode())
        if self._left is not None:
            self.writable()

    def refused(self, reason: str) -> None:
        self.told.append(("refused", reason))
        self.done.set_result(None)

    def answered(self, request: str, *, accepted: bool) -> None:
        self.told.append((request, accepted))
        self.begun.set()

    def output(self, stream: Stream, data: bytes) -> None:
        if stream == "stdout":
            self.out += data
        else:
            self.err += data
        self.first_output.set()

    def writable(self) -> None:
        assert self._left is not None
        while self._left and (count := self.channel.write(self._left)) > 0:
            self._left = self._left[count:]
        if not self._left:
            self.channel.write_eof()

    def exited(self, code: int) -> None:
        self.told.append(("exited", code))

    def signalled(self, name: str) -> None:
        self.told.append(("signalled", name))

    def closed(self) -> None:
        self.done.set_result(None)

    def lost(self, reason: str) -> None:
        self.told.append(("lost", reason))
        self.done.set_result(None)


async def run(connection: Connection, command: str, **options: object) -> Session:
    session = Session(command, **options)  # type: ignore[arg-type]
    session.channel = connection.open_channel(session)
    await session.done
    return session


class Master:
    """A real ssh master, in a process of its own."""

    def __init__(self, fleet: SshdFleet, directory: Path) -> None:
        self.path = os.fspath(directory / "socket")
        argv = master_argv(
            common_argv(fleet.ssh, Client((9, 2))),
            Target(fleet.hosts[0]),
            user=None,
            log_path="/dev/null",
            socket_path=self.path,
        )
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        processes.wait_until(lambda: os.path.exists(self.path), "the master's socket")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def limited_fleet(sshd_fleet_factory: SshdFleetFactory) -> SshdFleet:
    return sshd_fleet_factory(1, sshd_options={"KexAlgorithms": "curve25519-sha256", "MaxSessions": "4"})


@pytest.fixture(scope="module")
def shared_master(sshd_fleet_factory: SshdFleetFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """A master of a host without a limit: sessions of the test before may still count there."""
    fleet = sshd_fleet_factory(1, sshd_options={"KexAlgorithms": "curve25519-sha256", "AcceptEnv": "GREETING"})
    master = Master(fleet, tmp_path_factory.mktemp("m"))
    yield master
    master.end()


@pytest.fixture
async def connection(shared_master: Master) -> AsyncIterator[Connection]:
    connection = await open_connection(shared_master.path)
    yield connection
    connection.close()
    await connection.closed


# over a real master


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


async def test_many_commands_run_at_once_over_one_connection(connection: Connection) -> None:
    sessions = await asyncio.gather(*(run(connection, f"echo {number}") for number in range(4)))
    assert [session.out for session in sessions] == [b"%d\n" % number for number in range(4)]


async def test_session_beyond_the_hosts_limit_is_refused_and_the_others_go_on(
    limited_fleet: SshdFleet, tmp_path: Path
) -> None:
    # A master of its own: after a refusal it dies with the proxy connection ("chan_send_close2: no remote_id").
    master = Master(limited_fleet, tmp_path)
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


async def test_reader_that_takes_nothing_holds_the_host_back(connection: Connection) -> None:
    session = Session("head -c 20000000 /dev/zero; echo written >&2")
    session.channel = connection.open_channel(session)
    session.channel.pause()
    await session.begun.wait()
    while len(session.out) < WINDOW:
        await asyncio.sleep(0)
    await run(connection, "true")  # what was on its way has come by now
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
    # sshd before 9.8 refuses it in a session of root's (session.c: session_signal_req).
    assert session.told[1:] in (
        [("signal", False), ("exited", 0)],
        [("signal", True), ("signalled", "TERM")],
    )


async def test_death_of_the_master_loses_what_runs_with_its_output(limited_fleet: SshdFleet, tmp_path: Path) -> None:
    master = Master(limited_fleet, tmp_path)
    connection = await open_connection(master.path)
    session = Session("echo begun; exec sleep 60")
    session.channel = connection.open_channel(session)
    await session.first_output.wait()
    master.end()
    reason = await connection.closed
    connection.abandon(reason or "gone")
    assert session.told[-1] == ("lost", "gone")
    assert session.out == b"begun\n"


async def test_socket_without_a_listener_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await open_connection(os.fspath(tmp_path / "nobody"))


# over a master that misbehaves

HELLO = struct.pack(">III", 8, 1, 4)
READY = struct.pack(">III", 8, 0x8000000F, 1)


def packet(number: int, *fields: int | bytes) -> bytes:
    body = bytes((0, number))
    for field in fields:
        body += struct.pack(">I", field) if isinstance(field, int) else struct.pack(">I", len(field)) + field
    return struct.pack(">I", len(body)) + body


CONFIRMATION = packet(91, 0, 40, 1 << 20, 1 << 15)


@contextlib.asynccontextmanager
async def speaking(directory: Path, *, greeting: bytes = HELLO + READY, then: bytes = b"") -> AsyncIterator[str]:
    """Listen, send `greeting` to whoever comes, and `then` when a channel is opened."""

    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(greeting)
            await reader.readexactly(24)  # the client's own greeting and request
            if then:
                await reader.readexactly(4)
                writer.write(then)
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    path = os.fspath(directory / "s")
    if os.path.exists(path):
        os.unlink(path)
    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield path
        await ended.wait()


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (struct.pack(">III", 8, 1, 3), "version 3 instead of the greeting"),
        (struct.pack(">II", 4, 99), "message 0x63 instead of the greeting"),
        (struct.pack(">II", 4, 1), "ends 4 bytes early"),
        (HELLO + struct.pack(">III", 17, 0x80000003, 1) + b"\0\0\0\5sorry", "refuses to be a proxy: sorry"),
        (HELLO + struct.pack(">III", 8, 0x8000000F, 2), "to request 2"),
        (HELLO + struct.pack(">I", 1 << 31), "a packet of 2,147,483,648 bytes: at most 262,144 are allowed"),
        (b"SSH-2.0-x\r\n", "a packet of 1,397,966,893 bytes"),
    ],
)
async def test_greeting_that_is_none_is_an_error(tmp_path: Path, greeting: bytes, said: str) -> None:
    async with speaking(tmp_path, greeting=greeting) as path:
        with pytest.raises(MuxError, match=re.escape(said)):
            await open_connection(path)


async def test_extensions_of_the_greeting_are_passed_over(tmp_path: Path) -> None:
    extended = struct.pack(">III", 21, 1, 4) + b"\0\0\0\4info\0\0\0\0010"
    async with speaking(tmp_path, greeting=extended + READY) as path:
        connection = await open_connection(path)
        connection.close()


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (packet(94, 7, b"x"), "message 94 for a channel that is not open"),
        (packet(94, 0, b"x"), "data on channel 0, which is not open yet"),
        (CONFIRMATION + CONFIRMATION, "message 91 out of order"),
        (packet(98, 0, b"exit-status"), "message 98 out of order"),
        (packet(91, 0, 40, 1 << 20, 0), "maximum packet size of 0"),
        (CONFIRMATION + packet(93, 0, 0xFFFFFFFF), "a window of more than 4,294,967,295 bytes"),
        (CONFIRMATION + packet(94, 0, 0xFFFFFFFF), "bytes early"),
        (CONFIRMATION + packet(99, 0) + packet(99, 0), "an answer without a request on channel 0"),
        (CONFIRMATION + packet(98, 0, b"exit-status", 1), "bytes early"),
        (CONFIRMATION + 17 * packet(94, 0, bytes(1 << 17)), "more on channel 0 than its window allows"),
        (struct.pack(">IBB", 2, 4, 94), "4 bytes of padding"),
        (struct.pack(">IB", 1, 0), "a packet of 1 bytes"),
        (struct.pack(">IBB", 2, 0, 94), "message 94 without a channel"),
        (struct.pack(">I", 0xFFFFFFFF), "a packet of 4,294,967,295 bytes"),
        (packet(1, 11, b"bye\x1b[2J"), r"the host disconnected, reason 11: bye\x1b[2J"),
    ],
)
async def test_malformed_message_ends_the_connection_with_its_reason(tmp_path: Path, then: bytes, said: str) -> None:
    async with speaking(tmp_path, then=then) as path:
        connection = await open_connection(path)
        session = Session("true")
        session.channel = connection.open_channel(session)
        session.channel.pause()
        reason = await connection.closed
        assert said in reason


async def test_messages_that_concern_nobody_change_nothing(tmp_path: Path) -> None:
    noise = (
        packet(2, b"ignore")
        + packet(3, 9)
        + packet(4, b"")
        + _global_request(b"hostkeys-00@openssh.com")
        + packet(200, b"from the future")
    )
    requests = _channel_request(b"unheard-of@example.com", wants_reply=True)
    ending = CONFIRMATION + requests + _channel_request(b"exit-status", tail=struct.pack(">I", 5)) + packet(97, 0)
    async with speaking(tmp_path, then=noise + packet(90, b"x11", 3, 0, 0) + ending) as path:
        connection = await open_connection(path)
        session = await run(connection, "true")
        assert session.told == [("exited", 5)]
        connection.close()
        assert await connection.closed == ""


def _global_request(name: bytes) -> bytes:
    body = bytes((0, 80)) + struct.pack(">I", len(name)) + name + b"\1"
    return struct.pack(">I", len(body)) + body


def _channel_request(name: bytes, *, wants_reply: bool = False, tail: bytes = b"") -> bytes:
    body = bytes((0, 98)) + struct.pack(">II", 0, len(name)) + name + bytes((wants_reply,)) + tail
    return struct.pack(">I", len(body)) + body


class Wire:
    """The part of a transport that a connection uses."""

    def __init__(self) -> None:
        self.aborted = False
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.sent += b"".join(pieces)

    def set_write_buffer_limits(self, high: int) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


MESSAGES = st.one_of(
    st.binary(max_size=64),
    st.builds(
        packet,
        st.integers(0, 255),
        st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)),
        st.binary(max_size=40),
    ),
    st.builds(packet, st.integers(90, 100), st.integers(0, 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.just(CONFIRMATION),
    st.just(packet(94, 0, b"data")),
    st.just(packet(97, 0)),
)


def receive(connection: Connection, data: bytes) -> None:
    """Hand over `data` as asyncio does."""
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    messages=st.lists(MESSAGES, max_size=12), cuts=st.lists(st.integers(0, 400), max_size=6), greeted=st.booleans()
)
async def test_no_bytes_do_more_than_end_the_connection(
    messages: list[bytes], cuts: list[int], greeted: bool
) -> None:
    connection, wire = Connection(), Wire()
    connection._transport = wire  # type: ignore[assignment]
    sessions = []
    if greeted:
        receive(connection, HELLO + READY)
        for _ in range(2):
            session = Session("true")
            session.channel = connection.open_channel(session)
            sessions.append(session)
    stream = b"".join(messages)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in itertools.pairwise(edges):
        if not wire.aborted:
            receive(connection, stream[start:end])
    connection.connection_lost(None)
    connection.abandon("over")
    assert all(session.done.done() for session in sessions)
    if connection.ready.done() and connection.ready.exception() is not None:
        assert isinstance(connection.ready.exception(), MuxError)
