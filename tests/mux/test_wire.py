"""Bytes that a master, or a host through it, must not send."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import struct
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshfan_async.mux.connection import Connection, open_connection
from sshfan_async.mux.wire import MuxError
from tests.support.loops import Turns
from tests.support.mux import CONFIRMATION, HELLO, READY, Session, packet, run, speaking
from tests.support.processes import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path


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
async def test_greeting_that_is_none_is_an_error(sockets: Path, greeting: bytes, said: str) -> None:
    async with speaking(sockets, greeting=greeting) as path:
        with pytest.raises(MuxError, match=re.escape(said)):
            await open_connection(path)


async def test_extensions_of_the_greeting_are_passed_over(sockets: Path) -> None:
    extended = struct.pack(">III", 21, 1, 4) + b"\0\0\0\4info\0\0\0\0010"
    async with speaking(sockets, greeting=extended + READY) as path:
        connection = await open_connection(path)
        connection.close()


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (packet(94, 7, b"x"), "message 94 for a channel that is not open"),
        (packet(94, 0, b"x"), "message 94 out of order"),
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
async def test_malformed_message_ends_the_connection_with_its_reason(sockets: Path, then: bytes, said: str) -> None:
    async with speaking(sockets, then=then) as path:
        connection = await open_connection(path)
        session = Session("true")
        session.channel = connection.open_channel(session)
        session.channel.pause()
        reason = await connection.closed
        assert said in reason


async def test_messages_that_concern_nobody_change_nothing(sockets: Path) -> None:
    noise = (
        packet(2, b"ignore")
        + packet(3, 9)
        + packet(4, b"")
        + _global_request(b"hostkeys-00@openssh.com")
        + packet(200, b"from the future")
    )
    requests = _channel_request(b"unheard-of@example.com", wants_reply=True)
    ending = CONFIRMATION + requests + _channel_request(b"exit-status", tail=struct.pack(">I", 5)) + packet(97, 0)
    async with speaking(sockets, then=noise + packet(90, b"x11", 3, 0, 0) + ending) as path:
        connection = await open_connection(path)
        session = await run(connection, "true")
        assert session.told == [("exited", 5)]
        connection.close()
        assert await connection.closed == ""


async def test_flood_of_small_packets_leaves_turns_to_others(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, receive = Turns(), Connection._receive
    received: Counter[int] = Counter()

    def counted(connection: Connection, data: memoryview, start: int, end: int) -> None:
        received[turns.number] += 1
        receive(connection, data, start, end)

    monkeypatch.setattr(Connection, "_receive", counted)
    flood = 20_000 * packet(2, b"")
    ending = _channel_request(b"exit-status", tail=struct.pack(">I", 5)) + packet(97, 0)
    async with turns, speaking(sockets, then=CONFIRMATION + flood + ending) as path:
        connection = await open_connection(path)
        session = await run(connection, "true")
        assert session.told == [("exited", 5)]
        connection.close()
    assert received.total() == 20_003
    assert max(received.values()) <= 256


async def test_host_whose_questions_nobody_reads_the_answers_to_is_dropped(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.mux.connection._FULL", 64 * 1024)
    flood, most, answer = 1000 * _global_request(b"x"), 0, Connection.answer

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO + READY)
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(flood)
                await writer.drain()
        writer.close()

    def measured(connection: Connection, packet: bytes) -> None:
        nonlocal most
        most = max(most, connection._transport.get_write_buffer_size())
        answer(connection, packet)

    monkeypatch.setattr(Connection, "answer", measured)

    path = os.fspath(sockets / "s")
    async with await asyncio.start_unix_server(serve, path):
        connection = await open_connection(path)
        try:
            async with asyncio.timeout(PATIENCE):
                reason = await connection.closed
        finally:
            connection.close()
    assert "more than 1,000 requests, and their answers are not read" in reason
    assert 64 * 1024 < most < 128 * 1024


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
    """Pass `data` to the connection as asyncio does."""
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
