"""Bytes of two protocols: the frames of OpenSSH's control socket, and the messages of RFC 4254 that follow them.

Pure: no I/O. Every length is held against what is there, and against a limit, before anything is made of it.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "LONGEST",
    "PACKET",
    "WINDOW",
    "Fields",
    "Message",
    "Mux",
    "MuxError",
    "channel_close",
    "channel_data_head",
    "channel_eof",
    "channel_failure",
    "channel_open_session",
    "channel_request",
    "mux_hello",
    "mux_proxy",
    "open_refusal",
    "request_failure",
    "u32_at",
    "window_adjust",
]

LONGEST: Final = 256 * 1024
"""Bytes of the longest packet: OpenSSH's own limit on the wire and on the socket (packet.h: PACKET_MAX_SIZE;
channels.c: CHANNEL_MUX_MAX_PACKET)."""

WINDOW: Final = 2 * 1024 * 1024
"""Bytes that the host may send before we have taken any: what we hold for a channel at most."""
PACKET: Final = 128 * 1024
"""Bytes of data in one message. sshd sends 32 KiB to its own client; larger ones cost both sides fewer turns."""


class MuxError(Exception):
    """The other side broke the protocol, or refused us; the message says how. Never leaves this package's fleet."""


class Mux:
    """Numbers of the control socket's own protocol (PROTOCOL.mux, 9)."""

    VERSION: Final = 4
    HELLO: Final = 0x00000001
    PROXY: Final = 0x1000000F
    PERMISSION_DENIED: Final = 0x80000002
    FAILURE: Final = 0x80000003
    PROXY_READY: Final = 0x8000000F


class Message:
    """Message numbers (RFC 4250, 4.1.2)."""

    DISCONNECT: Final = 1
    GLOBAL_REQUEST: Final = 80
    REQUEST_FAILURE: Final = 82
    CHANNEL_OPEN: Final = 90
    CHANNEL_OPEN_CONFIRMATION: Final = 91
    CHANNEL_OPEN_FAILURE: Final = 92
    CHANNEL_WINDOW_ADJUST: Final = 93
    CHANNEL_DATA: Final = 94
    CHANNEL_EXTENDED_DATA: Final = 95
    CHANNEL_EOF: Final = 96
    CHANNEL_CLOSE: Final = 97
    CHANNEL_REQUEST: Final = 98
    CHANNEL_SUCCESS: Final = 99
    CHANNEL_FAILURE: Final = 100


_U32 = Struct(">I")
_NUMBERED = Struct(">IBBI")
"""Packet length, padding length (none: the proxy's packets are not padded), message number, recipient channel."""
_ADJUST = Struct(">IBBII")
_DATA = Struct(">IBBII")

_SESSION = b"session"
_PROHIBITED = 1  # RFC 4254, 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED


def u32_at(data: memoryview, at: int) -> int:
    """Read a number of four bytes, which must be there."""
    number: int = _U32.unpack_from(data, at)[0]
    return number


class Fields:
    """The fields of one message, read in turn.

    Raises:
        MuxError: by each method; the message is too short for the field.

    """

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        self._data = data
        self._at = start
        self._end = end

    def u32(self) -> int:
        """Read a number of four bytes."""
        return u32_at(self._data, self._take(4))

    def flag(self) -> bool:
        """Read a boolean: any byte but 0 is true (RFC 4251, 5)."""
        return self._data[self._take(1)] != 0

    def string(self) -> bytes:
        """Read bytes with their length before them."""
        length = self.u32()
        at = self._take(length)
        return bytes(self._data[at : at + length])

    def skip_string(self) -> None:
        """Pass over bytes with their length before them."""
        self._take(self.u32())

    def _take(self, count: int) -> int:
        at = self._at
        if count > self._end - at:
            raise MuxError(f"a message that ends {count - (self._end - at):,} bytes early")
        self._at = at + count
        return at


def mux_hello() -> bytes:
    """The first frame on a control socket, from both sides."""
    return _frame(_U32.pack(Mux.HELLO) + _U32.pack(Mux.VERSION))


def mux_proxy(request: int) -> bytes:
    """Ask the master to speak the connection protocol from here on."""
    return _frame(_U32.pack(Mux.PROXY) + _U32.pack(request))


def channel_open_session(sender: int, window: int, longest: int) -> bytes:
    """RFC 4254, 6.1."""
    return _packet(
        Message.CHANNEL_OPEN, _string(_SESSION) + _U32.pack(sender) + _U32.pack(window) + _U32.pack(longest)
    )


def open_refusal(recipient: int) -> bytes:
    """Refuse a channel that the host opens (RFC 4254, 5.1)."""
    why = _string(b"no channels to this side") + _string(b"")
    return _packet(Message.CHANNEL_OPEN_FAILURE, _U32.pack(recipient) + _U32.pack(_PROHIBITED) + why)


def request_failure() -> bytes:
    """Answer a global request that we do not know (RFC 4254, 4)."""
    return _packet(Message.REQUEST_FAILURE, b"")


def channel_request(recipient: int, name: bytes, *strings: bytes, reply: bool) -> bytes:
    """A request whose own fields are all strings: exec, env, signal (RFC 4254, 6.4, 6.5, 6.9)."""
    fields = b"".join(map(_string, strings))
    return _packet(
        Message.CHANNEL_REQUEST, _U32.pack(recipient) + _string(name) + (b"\1" if reply else b"\0") + fields
    )


def window_adjust(recipient: int, count: int) -> bytes:
    """RFC 4254, 5.2."""
    return _ADJUST.pack(10, 0, Message.CHANNEL_WINDOW_ADJUST, recipient, count)


def channel_data_head(recipient: int, count: int) -> bytes:
    """What stands before `count` bytes of data (RFC 4254, 5.2)."""
    return _DATA.pack(count + 10, 0, Message.CHANNEL_DATA, recipient, count)


def channel_eof(recipient: int) -> bytes:
    """RFC 4254, 5.3."""
    return _NUMBERED.pack(6, 0, Message.CHANNEL_EOF, recipient)


def channel_close(recipient: int) -> bytes:
    """RFC 4254, 5.3."""
    return _NUMBERED.pack(6, 0, Message.CHANNEL_CLOSE, recipient)


def channel_failure(recipient: int) -> bytes:
    """Answer a channel's request that we do not know (RFC 4254, 5.4)."""
    return _NUMBERED.pack(6, 0, Message.CHANNEL_FAILURE, recipient)


def _string(raw: bytes) -> bytes:
    return _U32.pack(len(raw)) + raw


def _frame(body: bytes) -> bytes:
    return _U32.pack(len(body)) + body


def _packet(number: int, body: bytes) -> bytes:
    return _frame(bytes((0, number)) + body)
