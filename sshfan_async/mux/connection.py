"""The connection to one master in proxy mode: the handshake, and the packets of all its channels."""

from __future__ import annotations

import asyncio
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING

from sshfan_async.escape import printable
from sshfan_async.loop.per_loop import PerLoop
from sshfan_async.mux import wire
from sshfan_async.mux.channel import Channel
from sshfan_async.mux.wire import MAX_DATA, MAX_PACKET, WINDOW, Fields, Message, Mux, MuxError

if TYPE_CHECKING:
    from sshfan_async.mux.channel import Receiver

__all__ = ["Connection", "open_connection"]

_REQUEST = 1
_QUOTE_LENGTH = 200
"""Characters of a text from the master or the host that go into a reason."""
_FULL = 1024 * 1024
"""Bytes in the write buffer above which channels write no more."""

_CHUNK = 256 * 1024
"""Bytes to read at once, at most."""

_PER_TURN = 256
"""Packets to handle in one turn of the loop: some milliseconds. A chunk can hold 25,000 small ones."""
_LINGER = 0.1
"""Seconds for which the close of a channel waits for other packets. Meanwhile, the ended session takes up one of the
sessions that the host allows."""
_WRITE_SECONDS = 0.002
"""After so long, the writes of a turn of the loop go on in the next turn."""
_MOST_ANSWERS = 1000
"""Answers that may wait for a master that does not read. A real host asks a few times a minute."""

_CHANNEL_MESSAGES = range(Message.CHANNEL_OPEN_CONFIRMATION, Message.CHANNEL_FAILURE + 1)
_U32 = Struct(">I")


class Connection(asyncio.BufferedProtocol):
    """Many channels over one control socket in proxy mode, from `open_connection`.

    A violation of the protocols ends the connection, with a reason.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[str] = loop.create_future()
        """Done when the connection is gone. The result says why; it is empty if the other side closed it."""
        self.is_full = False
        self.requests_sent = 0
        """The number of requests sent that want an answer, opens included. It numbers them, from 1 on."""
        self.last_answered = 0
        """The highest number of an answered request. The host has read everything that was sent before it."""
        self._loop = loop
        self._transport: asyncio.Transport
        self._channels: dict[int, Channel] = {}
        self._next = 0
        self._inbox = _inboxes.get()
        self._partial = b""
        """The beginning of a packet that is not complete yet."""
        self._rest = memoryview(b"")
        """Packets for the next turns; nothing is read meanwhile."""
        self._answers = 0
        self._greeted = False
        self._proxied = False
        self._reason = ""
        self._out: list[bytes] = []
        self._outbox = _outboxes.get()
        self._due = False
        """Whether the outbox will write `_out`."""
        self._lingering: asyncio.TimerHandle | None = None

    def open_channel(self, receiver: Receiver) -> Channel:
        """Ask the host for a session; `receiver` gets its events."""
        while self._next in self._channels:
            self._next = (self._next + 1) & 0x7FFFFFFF  # channels.c: ids beyond INT_MAX are refused
        number, self._next = self._next, (self._next + 1) & 0x7FFFFFFF
        self.requests_sent += 1
        channel = self._channels[number] = Channel(self, number, receiver, self.requests_sent)
        self.send(wire.channel_open_session(number, WINDOW, MAX_DATA))
        return channel

    @property
    def is_lost(self) -> bool:
        """Whether the socket is closed. The channels' receivers may not know yet."""
        return self._transport.is_closing()

    def send_keepalive(self) -> bool:
        """Send a keepalive on an open channel. Return False if none is open.

        If the host closes that channel first, no answer comes.
        """
        return any(channel.send_keepalive() for channel in self._channels.values())

    def note_answer(self, request: int) -> None:
        """Note that the request of that number was answered. Answers may come out of order."""
        self.last_answered = max(self.last_answered, request)

    def abandon(self, reason: str) -> None:
        """Close the connection, and report to each channel that it is gone."""
        self._fail(reason)
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.report_loss(reason)

    def close(self) -> None:
        """Close the socket; the master closes this connection's channels."""
        self._transport.abort()

    def send(self, *packets: bytes) -> None:
        """Send packets. All packets of one turn of the loop go into one write, soon after it."""
        self._out += packets
        self.hurry()

    def send_soon(self, packet: bytes) -> None:
        """Send a packet that may wait for the next one, up to `_LINGER` seconds: the master handles both at once."""
        self._out.append(packet)
        if self._lingering is None:
            self._lingering = self._loop.call_later(_LINGER, self._end_lingering)

    def hurry(self) -> None:
        """Send what waits for another packet."""
        if not self._due:
            self._due = True
            self._outbox.add(self)

    def answer(self, packet: bytes) -> None:
        """Send the answer to a request of the host.

        Raises:
            MuxError: too many answers wait to be read.

        """
        if self.is_full:
            self._answers += 1
            if self._answers > _MOST_ANSWERS:
                raise MuxError(f"more than {_MOST_ANSWERS:,} requests, and their answers are not read")
        self.send(packet)

    def forget(self, number: int) -> None:
        """Free the number of a channel that is closed on both sides."""
        self._channels.pop(number, None)

    def _end_lingering(self) -> None:
        self._lingering = None
        self.flush()

    def flush(self) -> None:
        """Write what was sent. The outbox calls this."""
        self._due = False
        if self._out:
            out, self._out = self._out, []
            if not self._transport.is_closing():
                # Not `writelines`: in Python 3.12 and 3.13.0 it never calls `pause_writing`.
                self._transport.write(b"".join(out))

    # called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the greeting and the request for proxy mode."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_FULL)
        # No wait in between: the master reads them one after the other (mux.c: mux_master_read_cb).
        transport.write(wire.mux_hello() + wire.mux_proxy(_REQUEST))

    def pause_writing(self) -> None:
        """Let channels write no more: the master reads more slowly than we write."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Let channels write again."""
        self.is_full, self._answers = False, 0
        for channel in list(self._channels.values()):
            channel.socket_writable()

    def connection_lost(self, error: Exception | None) -> None:
        """Conclude: the socket is closed, by either side."""
        reason = self._reason or ("" if error is None else str(error))
        if not self.ready.done():
            self.ready.set_exception(MuxError(reason or "the master closed its control socket"))
        if self._lingering is not None:
            self._lingering.cancel()
        self.closed.set_result(reason)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next bytes: it follows those of a packet that is not complete yet."""
        size = len(self._partial)
        self._inbox[:size] = self._partial
        return self._inbox[size : size + _CHUNK]

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the packets that are complete."""
        self._take(self._inbox[: len(self._partial) + nbytes])
        if len(self._rest) > 0:
            self._rest = memoryview(bytes(self._rest))
            self._transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Handle packets that the last turn has left."""
        if not self._transport.is_closing():
            self._take(self._rest)
            if len(self._rest) > 0:
                self._loop.call_soon(self._go_on)
            else:
                self._transport.resume_reading()

    def _take(self, data: memoryview) -> None:
        """Handle at most `_PER_TURN` packets of `data`; keep further ones, or an incomplete one."""
        try:
            rest, is_complete = self._handle(data)
        except MuxError as error:
            self._rest, self._partial = data[:0], b""
            self._fail(f"the ssh master, or the host through it, broke the protocol: {error}")
            return
        self._rest, self._partial = (data[:0], bytes(rest)) if is_complete else (rest, b"")

    def _handle(self, data: memoryview) -> tuple[memoryview, bool]:
        """Handle packets; return the rest, and whether that has no complete packet."""
        start, end = 0, len(data)
        for _ in range(_PER_TURN):
            if end - start < 4 or self._reason:
                return data[start:], True
            (length,) = _U32.unpack_from(data, start)
            if length > MAX_PACKET:
                raise MuxError(f"a packet of {length:,} bytes: at most {MAX_PACKET:,} are allowed")
            stop = start + 4 + length
            if stop > end:
                return data[start:], True
            if self._proxied:
                self._receive(data, start + 4, stop)
            else:
                self._handshake(Fields(data, start + 4, stop))
            start = stop
        return data[start:], False

    def _fail(self, reason: str) -> None:
        if not self._reason:
            self._reason = reason
        self._transport.abort()

    # the control socket's own protocol

    def _handshake(self, fields: Fields) -> None:
        kind = fields.u32()
        if not self._greeted:
            if kind != Mux.HELLO or (version := fields.u32()) != Mux.VERSION:
                received = f"message {kind:#x}" if kind != Mux.HELLO else f"version {version}"
                raise MuxError(f"{received} instead of the greeting of version {Mux.VERSION}")
            self._greeted = True  # extensions may follow (PROTOCOL.mux, 1): ignore them
            return
        request = fields.u32()
        if kind in (Mux.FAILURE, Mux.PERMISSION_DENIED):
            raise MuxError(f"the master refuses to be a proxy: {printable(fields.string(), _QUOTE_LENGTH)}")
        if kind != Mux.PROXY_READY or request != _REQUEST:
            raise MuxError(f"message {kind:#x} to request {request} instead of the answer to request {_REQUEST}")
        self._proxied = True
        if not self.ready.done():
            self.ready.set_result(None)

    # the connection protocol

    def _receive(self, data: memoryview, start: int, end: int) -> None:
        if end - start < 2:
            raise MuxError(f"a packet of {end - start} bytes")
        if data[start] != 0:
            raise MuxError(f"a packet with {data[start]} bytes of padding")
        number = data[start + 1]
        if number in _CHANNEL_MESSAGES:
            if end - start < 6:
                raise MuxError(f"message {number} without a channel")
            (recipient,) = _U32.unpack_from(data, start + 2)
            channel = self._channels.get(recipient)
            if channel is None:
                raise MuxError(f"message {number} for a channel that is not open")
            channel.receive(number, data, start + 6, end)
        else:
            self._receive_other(number, Fields(data, start + 2, end))

    def _receive_other(self, number: int, fields: Fields) -> None:
        """Handle a message that belongs to no channel of ours.

        Ignore an unknown one. We cannot answer UNIMPLEMENTED: it names a packet by its number in the encrypted stream
        (RFC 4253, 11.4), which only the master knows.
        """
        if number == Message.DISCONNECT:
            code, text = fields.u32(), printable(fields.string(), _QUOTE_LENGTH)
            raise MuxError(f"the host disconnected, reason {code}: {text}")
        if number == Message.GLOBAL_REQUEST:
            fields.skip_string()
            if fields.flag():
                self.answer(wire.request_failure())
        elif number == Message.CHANNEL_OPEN:
            fields.skip_string()
            self.answer(wire.open_refusal(fields.u32()))


class _Outbox:
    """Writes the packets of all connections of a loop, for `_WRITE_SECONDS` in each turn.

    On a busy machine, the master that a write wakes runs first. So it can take long to write to many.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: deque[Connection] = deque()

    def add(self, connection: Connection) -> None:
        """Call `connection.flush` soon."""
        if not self._due:
            self._loop.call_soon(self._write)
        self._due.append(connection)

    def _write(self) -> None:
        until = self._loop.time() + _WRITE_SECONDS
        try:
            while self._due:
                self._due.popleft().flush()
                if self._loop.time() >= until:
                    break
        finally:
            if self._due:
                self._loop.call_soon(self._write)


def _inbox() -> memoryview:
    return memoryview(bytearray(MAX_PACKET + 4 + _CHUNK))


# asyncio passes data on in the same call that reads it (selector_events.py: _read_ready__get_buffer), so all
# connections of a loop share one buffer. A new buffer for each read, as for `data_received`, costs 12 us.
_inboxes = PerLoop(_inbox)
_outboxes = PerLoop(_Outbox)


async def open_connection(path: str) -> Connection:
    """Connect to the master that listens at `path`, and switch it to proxy mode.

    Raises:
        OSError: no process listens at `path`.
        MuxError: the process at `path` does not speak the protocol, or refuses.

    """
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_unix_connection(Connection, path)
    try:
        await connection.ready
    except BaseException:
        connection.close()
        raise
    return connection
