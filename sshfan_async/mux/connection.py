"""The proxy connection to one master: handshake, packets in, packets out, and the channels they belong to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anyio.lowlevel import RunVar

from sshfan_async.escape import printable
from sshfan_async.mux import wire
from sshfan_async.mux.channel import Channel
from sshfan_async.mux.wire import LONGEST, PACKET, WINDOW, Fields, Message, Mux, MuxError

if TYPE_CHECKING:
    from sshfan_async.mux.channel import Receiver

__all__ = ["Connection", "open_connection"]

_REQUEST = 1
_SAID = 200
"""Characters of what the master or the host says that go into a reason."""
_FULL = 1024 * 1024
"""Bytes on their way to the master from which on nobody writes more."""

_CHUNK = 256 * 1024
"""Bytes that are read at once, at most."""

# What comes is taken in the very call that reads it (asyncio: selector_events.py, _read_ready__get_buffer), so all
# connections of a loop share one buffer. Room made anew for each read, as for `data_received`, costs 12 us a time.
_inboxes: RunVar[memoryview] = RunVar("sshfan_async.mux.inbox")

_CHANNEL_MESSAGES = range(Message.CHANNEL_OPEN_CONFIRMATION, Message.CHANNEL_FAILURE + 1)


class Connection(asyncio.BufferedProtocol):
    """Many channels over one control socket in proxy mode; made by `open_connection`.

    Whatever comes that the protocols do not allow ends the connection, with a reason.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[str] = loop.create_future()
        """Done when the connection is gone; the result says why, empty where the other side merely closed."""
        self.is_full = False
        self.asked = 0
        """How many questions have been sent: opens, and requests that want an answer."""
        self.answered = 0
        """The last of them, by number, to which an answer has come; the host has read all that was sent before it."""
        self._loop = loop
        self._transport: asyncio.Transport
        self._channels: dict[int, Channel] = {}
        self._next = 0
        self._inbox = _inbox()
        self._rest = b""
        self._greeted = False
        self._proxied = False
        self._reason = ""
        self._out: list[bytes] = []
        self._flushing = False

    def open_channel(self, receiver: Receiver) -> Channel:
        """Ask the host for a session; `receiver` is told what becomes of it."""
        while self._next in self._channels:
            self._next = (self._next + 1) & 0x7FFFFFFF  # channels.c: ids beyond INT_MAX are refused
        number, self._next = self._next, (self._next + 1) & 0x7FFFFFFF
        self.asked += 1
        channel = self._channels[number] = Channel(self, number, receiver, self.asked)
        self.send(wire.channel_open_session(number, WINDOW, PACKET))
        return channel

    @property
    def is_lost(self) -> bool:
        """Whether nothing that is sent can arrive any more; the channels' receivers may not know yet."""
        return self._transport.is_closing()

    def ask(self) -> bool:
        """Ask the host something on a channel that is open, if any is; the answer fails to come if it closes it."""
        return any(channel.ask() for channel in self._channels.values())

    def note_answer(self, question: int) -> None:
        """An answer has come to the question of that number: not always in the order of asking."""
        self.answered = max(self.answered, question)

    def abandon(self, reason: str) -> None:
        """Tell every channel's receiver that the connection is gone, and close it."""
        self._fail(reason)
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.lose(reason)

    def close(self) -> None:
        """Close the socket; the master closes this connection's channels."""
        self._transport.abort()

    def send(self, *packets: bytes) -> None:
        """Send packets: those of one turn of the loop in one write."""
        self._out += packets
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def forget(self, number: int) -> None:
        """The channel is closed on both sides."""
        self._channels.pop(number, None)

    def _flush(self) -> None:
        self._flushing = False
        if self._out:
            out, self._out = self._out, []
            if not self._transport.is_closing():
                self._transport.writelines(out)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, and ask for the proxy."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_FULL)
        # The master reads them one after the other (mux.c: mux_master_read_cb): no need to wait in between.
        transport.write(wire.mux_hello() + wire.mux_proxy(_REQUEST))

    def pause_writing(self) -> None:
        """The master reads more slowly than we write."""
        self.is_full = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.is_full = False
        for channel in list(self._channels.values()):
            channel.socket_writable()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed, by either side."""
        reason = self._reason or ("" if error is None else str(error))
        if not self.ready.done():
            self.ready.set_exception(MuxError(reason or "the master closed its control socket"))
        self.closed.set_result(reason)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: behind those of a packet that was cut."""
        rest = len(self._rest)
        self._inbox[:rest] = self._rest
        return self._inbox[rest : rest + _CHUNK]

    def buffer_updated(self, nbytes: int) -> None:
        """Take the next bytes, cut anywhere."""
        data, self._rest = self._inbox[: len(self._rest) + nbytes], b""
        flushing, self._flushing = self._flushing, True
        try:
            start, end = 0, len(data)
            while end - start >= 4 and not self._reason:
                length = wire.u32_at(data, start)
                if length > LONGEST:
                    raise MuxError(f"a packet of {length:,} bytes, where {LONGEST:,} are allowed")
                stop = start + 4 + length
                if stop > end:
                    break
                if self._proxied:
                    self._take(data, start + 4, stop)
                else:
                    self._greet(Fields(data, start + 4, stop))
                start = stop
        except MuxError as error:
            self._fail(f"the ssh master, or the host through it, broke the protocol: {error}")
            return
        finally:
            self._flushing = flushing
        self._rest = bytes(data[start:])
        if not flushing:
            self._flush()

    def _fail(self, reason: str) -> None:
        if not self._reason:
            self._reason = reason
        self._transport.abort()

    # the control socket's own protocol

    def _greet(self, fields: Fields) -> None:
        kind = fields.u32()
        if not self._greeted:
            if kind != Mux.HELLO or (version := fields.u32()) != Mux.VERSION:
                said = f"message {kind:#x}" if kind != Mux.HELLO else f"version {version}"
                raise MuxError(f"{said} in place of the greeting of version {Mux.VERSION}")
            self._greeted = True  # extensions may follow (PROTOCOL.mux, 1): none concerns us
            return
        request = fields.u32()
        if kind in (Mux.FAILURE, Mux.PERMISSION_DENIED):
            raise MuxError(f"the master refuses to be a proxy: {printable(fields.string(), _SAID)}")
        if kind != Mux.PROXY_READY or request != _REQUEST:
            raise MuxError(f"message {kind:#x} to request {request} in place of the answer to ours")
        self._proxied = True
        if not self.ready.done():
            self.ready.set_result(None)

    # the connection protocol

    def _take(self, data: memoryview, start: int, end: int) -> None:
        if end - start < 2:
            raise MuxError(f"a packet of {end - start} bytes")
        if data[start] != 0:
            raise MuxError(f"a packet with {data[start]} bytes of padding")
        number = data[start + 1]
        if number in _CHANNEL_MESSAGES:
            if end - start < 6:
                raise MuxError(f"message {number} without a channel")
            channel = self._channels.get(wire.u32_at(data, start + 2))
            if channel is None:
                raise MuxError(f"message {number} for a channel that is not open")
            if number == Message.CHANNEL_DATA:
                channel.take_data(Fields(data, start + 6, end).string())
            else:
                channel.take(number, data, start + 6, end)
        else:
            self._take_other(number, Fields(data, start + 2, end))

    def _take_other(self, number: int, fields: Fields) -> None:
        """Take what belongs to no channel of ours.

        What we do not know is passed over in silence: UNIMPLEMENTED names a packet by its number in the encrypted
        stream (RFC 4253, 11.4), which only the master knows.
        """
        if number == Message.DISCONNECT:
            code, said = fields.u32(), printable(fields.string(), _SAID)
            raise MuxError(f"the host disconnected, reason {code}: {said}")
        if number == Message.GLOBAL_REQUEST:
            fields.skip_string()
            if fields.flag():
                self.send(wire.request_failure())
        elif number == Message.CHANNEL_OPEN:
            fields.skip_string()
            self.send(wire.open_refusal(fields.u32()))


def _inbox() -> memoryview:
    """Return the buffer of the running loop."""
    inbox = _inboxes.get(None)
    if inbox is None:
        inbox = memoryview(bytearray(LONGEST + 4 + _CHUNK))
        _inboxes.set(inbox)
    return inbox


async def open_connection(path: str) -> Connection:
    """Connect to the master that listens at `path`, and have it speak the connection protocol.

    Raises:
        OSError: nobody listens there.
        MuxError: what listens there does not speak the protocol, or refuses.

    """
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_unix_connection(Connection, path)
    try:
        await connection.ready
    except BaseException:
        connection.close()
        raise
    return connection
