"""Encode and decode two protocols: the frames of OpenSSH's control socket, and the messages of RFC 4254 after them.

No I/O. Every length is checked before it is used.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "MAX_DATA",
    "MAX_PACKET",
    "WINDOW",
    "Fields",
    "Message",
    "Mux",
    "MuxError",
    "channel_close",
    "channel_data_head",
    "channel_eof",
    "channel_exec",
    "channel_failure",
    "channel_open_session",
    "channel_request",
    "mux_hello",
    "mux_proxy",
    "numbers_at",
    "open_refusal",
    "request_failure",
    "window_adjust",
]

MAX_PACKET: Final = 256 * 1024
"""Bytes of a packet, at most: OpenSSH's own limit on the wire and on the socket (packet.h: PACKET_MAX_SIZE;
channels.c: CHANNEL_MUX_MAX_PACKET)."""

WINDOW: Final = 2 * 1024 * 1024
"""Bytes that the host may send before we have read any, and so the most that a channel has in memory."""
MAX_DATA: Final = 128 * 1024
"""Bytes of data in one message, at most. OpenSSH's own client allows 32 KiB; larger messages take fewer turns."""


class MuxError(Exception):
    """The other side broke the protocol, or refused the connection. Internal: a fleet turns it into an outcome."""


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
"""Packet length, padding length (0: packets of the proxy are not padded), message number, recipient channel."""
_ADJUST = Struct(">IBBII")
_DATA = Struct(">IBBII")
_OPEN = Struct(">IBBI7sIII")
_EXEC = Struct(">IBBII4sBI")
_NUMBERS = Struct(">III")

_PROHIBITED = 1  # RFC 4254, 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED


def numbers_at(data: memoryview, start: int, end: int) -> tuple[int, int, int]:
    """Read three numbers of four bytes each.

    Raises:
        MuxError: the message is too short.

    """
    if end - start < _NUMBERS.size:
        raise MuxError(f"a message that ends {_NUMBERS.size - (end - start):,} bytes early")
    first, second, third = _NUMBERS.unpack_from(data, start)
    return first, second, third


class Fields:
    """Reads the fields of one message, one after the other.

    Raises:
        MuxError: by each method, if the message is too short for the field.

    """

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        self._data = data
        self._at = start
        self._end = end

    def u32(self) -> int:
        """Read a number of four bytes."""
        number: int = _U32.unpack_from(self._data, self._advance(4))[0]
        return number

    def flag(self) -> bool:
        """Read a boolean: any byte but 0 is true (RFC 4251, 5)."""
        return self._data[self._advance(1)] != 0

    def string(self) -> bytes:
        """Read a string: its length, then its bytes."""
        length = self.u32()
        at = self._advance(length)
        return bytes(self._data[at : at + length])

    def skip_string(self) -> None:
        """Skip a string."""
        self._advance(self.u32())

    def _advance(self, count: int) -> int:
        at = self._at
        if count > self._end - at:
            raise MuxError(f"a message that ends {count - (self._end - at):,} bytes early")
        self._at = at + count
        return at


def mux_hello() -> bytes:
    """Return the first frame on a control socket, which both sides send."""
    return _frame(_U32.pack(Mux.HELLO) + _U32.pack(Mux.VERSION))


def mux_proxy(request: int) -> bytes:
    """Return the request for proxy mode, in which the master speaks the connection protocol."""
    return _frame(_U32.pack(Mux.PROXY) + _U32.pack(request))


def channel_open_session(sender: int, window: int, longest: int) -> bytes:
    """Return the request to open a session (RFC 4254, 6.1)."""
    return _OPEN.pack(25, 0, Message.CHANNEL_OPEN, 7, b"session", sender, window, longest)


def open_refusal(recipient: int) -> bytes:
    """Return the refusal of a channel that the host wants to open (RFC 4254, 5.1)."""
    reason = _string(b"no channels to this side") + _string(b"")
    return _packet(Message.CHANNEL_OPEN_FAILURE, _U32.pack(recipient) + _U32.pack(_PROHIBITED) + reason)


def request_failure() -> bytes:
    """Return the refusal of a global request: we support none (RFC 4254, 4)."""
    return _packet(Message.REQUEST_FAILURE, b"")


def channel_request(recipient: int, name: bytes, *strings: bytes, reply: bool) -> bytes:
    """Return a request whose own fields are all strings: env, signal (RFC 4254, 6.4, 6.9)."""
    fields = b"".join(map(_string, strings))
    return _packet(
        Message.CHANNEL_REQUEST, _U32.pack(recipient) + _string(name) + (b"\1" if reply else b"\0") + fields
    )


def channel_exec(recipient: int, command: bytes) -> bytes:
    """Return the request to run `command`, which the host answers (RFC 4254, 6.5)."""
    size = len(command)
    return _EXEC.pack(19 + size, 0, Message.CHANNEL_REQUEST, recipient, 4, b"exec", 1, size) + command


def window_adjust(recipient: int, count: int) -> bytes:
    """Return a message that lets the host send `count` more bytes (RFC 4254, 5.2)."""
    return _ADJUST.pack(10, 0, Message.CHANNEL_WINDOW_ADJUST, recipient, count)


def channel_data_head(recipient: int, count: int) -> bytes:
    """Return the head of a data message, which `count` bytes of data follow (RFC 4254, 5.2)."""
    return _DATA.pack(count + 10, 0, Message.CHANNEL_DATA, recipient, count)


def channel_eof(recipient: int) -> bytes:
    """Return a message that ends our data (RFC 4254, 5.3)."""
    return _NUMBERED.pack(6, 0, Message.CHANNEL_EOF, recipient)


def channel_close(recipient: int) -> bytes:
    """Return a message that closes the channel (RFC 4254, 5.3)."""
    return _NUMBERED.pack(6, 0, Message.CHANNEL_CLOSE, recipient)


def channel_failure(recipient: int) -> bytes:
    """Return the refusal of a channel request that we do not support (RFC 4254, 5.4)."""
    return _NUMBERED.pack(6, 0, Message.CHANNEL_FAILURE, recipient)


def _string(raw: bytes) -> bytes:
    return _U32.pack(len(raw)) + raw


def _frame(body: bytes) -> bytes:
    return _U32.pack(len(body)) + body


def _packet(number: int, body: bytes) -> bytes:
    return _frame(bytes((0, number)) + body)
