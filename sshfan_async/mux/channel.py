"""One channel: a session on the host, and the events that its receiver gets (RFC 4254, 5 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sshfan_async.escape import printable
from sshfan_async.mux import wire
from sshfan_async.mux.wire import WINDOW, Fields, Message, MuxError, numbers_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.event import Stream

__all__ = ["Channel", "Receiver"]

_QUOTE_LENGTH = 200
"""Characters of a text from the host that go into a reason."""
_STDERR = 1  # RFC 4254, 5.2: SSH_EXTENDED_DATA_STDERR
_MAX_WINDOW = 2**32 - 1  # RFC 4254, 5.2


class Receiver(Protocol):
    """Receives the events of a channel. Its methods are called in the event loop, and must not raise."""

    def opened(self) -> None:
        """The host has opened the session: commands may be sent."""

    def refused(self, reason: str) -> None:
        """The host has refused the session. No further event follows."""

    def answered(self, request: str, *, accepted: bool) -> None:
        """The host has answered `"exec"`, `"signal"` or `"keepalive"`."""

    def output(self, stream: Stream, data: bytes) -> None:
        """The command has written `data`."""

    def writable(self) -> None:
        """`Channel.write` can take more data again."""

    def exited(self, code: int) -> None:
        """The command has exited with `code`."""

    def signalled(self, name: str) -> None:
        """The command died of the signal `name`, without `SIG`."""

    def closed(self) -> None:
        """The host has closed the channel. No further event follows."""

    def lost(self, reason: str) -> None:
        """The connection is gone. No further event follows."""


class ChannelOwner(Protocol):
    """The part of a connection that its channels use."""

    is_full: bool
    requests_sent: int

    def send(self, *packets: bytes) -> None: ...

    def send_soon(self, packet: bytes) -> None: ...

    def answer(self, packet: bytes) -> None: ...

    def forget(self, number: int) -> None: ...

    def note_answer(self, request: int) -> None: ...


class Channel:
    """A session channel, opened by `Connection.open_channel`.

    While it is paused, it does not extend the host's window, so the host stops after at most `WINDOW` bytes.
    """

    __slots__ = (
        "_close_sent",
        "_connection",
        "_consumed",
        "_eof_sent",
        "_max_packet",
        "_number",
        "_paused",
        "_receive_window",
        "_receiver",
        "_remote",
        "_send_window",
        "_unanswered",
        "_write_blocked",
    )

    def __init__(self, connection: ChannelOwner, number: int, receiver: Receiver, request: int) -> None:
        """`request`: the number of the open request (`Connection.requests_sent`)."""
        self._connection = connection
        self._number = number
        self._receiver = receiver
        self._remote: int | None = None
        self._receive_window = WINDOW
        self._consumed = 0
        self._paused = False
        self._send_window = 0
        self._max_packet = 0
        self._write_blocked = False
        self._eof_sent = False
        self._close_sent = False
        self._unanswered = [("open", request)]
        """The kind and the number of each request whose answer has not come."""

    @property
    def is_open(self) -> bool:
        """Whether the host has opened the session, and we have not closed it."""
        return self._remote is not None and not self._close_sent

    def set_receiver(self, receiver: Receiver) -> None:
        """Send the events to `receiver` from now on."""
        self._receiver = receiver

    # what we send

    def set_variable(self, name: str, value: str) -> None:
        """Set an environment variable for the command, if the host accepts it (sshd_config(5): AcceptEnv)."""
        self._request(b"env", name.encode(), value.encode("utf-8", "surrogateescape"))

    def execute(self, command: bytes) -> None:
        """Ask the host to run `command` in the login shell. `Receiver.answered` gets the reply."""
        if self._remote is not None and not self._close_sent:
            self._await_answer("exec")
            self._connection.send(wire.channel_exec(self._remote, command))

    def signal(self, name: str) -> None:
        """Ask the host to signal the command's process group (`"TERM"`). `Receiver.answered` gets the reply.

        RFC 4254, 6.9, has no reply to this request, but OpenSSH and dropbear send one on request (serverloop.c:
        server_input_channel_req).
        """
        self._request(b"signal", name.encode("ascii"), answer="signal")

    def send_keepalive(self) -> bool:
        """Send a request that has no effect but an answer. Return False if the channel is not open."""
        if not self.is_open:
            return False
        self._request(b"keepalive@openssh.com", answer="keepalive")
        return True

    def write(self, data: bytes | memoryview) -> int:
        """Send the beginning of `data` to the command's standard input; return the number of bytes sent.

        If the host or the socket cannot take all, fewer bytes are sent, or none, and `Receiver.writable` is called
        when there is room again.
        """
        count = min(len(data), self._send_window, self._max_packet)
        if count > 0 and not self._connection.is_full:
            assert self._remote is not None
            self._send_window -= count
            self._connection.send(wire.channel_data_head(self._remote, count), bytes(data[:count]))
        else:
            count = 0
        if count < len(data):
            self._write_blocked = True
        return count

    def write_eof(self) -> None:
        """End the command's standard input."""
        if self._remote is not None and not self._eof_sent and not self._close_sent:
            self._eof_sent = True
            self._connection.send(wire.channel_eof(self._remote))

    def close(self) -> None:
        """Close our side of the channel. `Receiver.closed` is called when the host has closed its side."""
        if self._remote is not None and not self._close_sent:
            self._close_sent = True
            self._connection.send(wire.channel_close(self._remote))

    def pause(self) -> None:
        """Do not extend the host's window until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Extend the host's window again."""
        self._paused = False
        self._grant()

    def _request(self, name: bytes, *strings: bytes, answer: str = "") -> None:
        if self._remote is None or self._close_sent:
            return
        if answer != "":
            self._await_answer(answer)
        self._connection.send(wire.channel_request(self._remote, name, *strings, reply=answer != ""))

    def _await_answer(self, kind: str) -> None:
        self._connection.requests_sent += 1
        self._unanswered.append((kind, self._connection.requests_sent))

    def _grant(self) -> None:
        if self._consumed >= WINDOW // 2 and not self._paused and not self._close_sent:
            assert self._remote is not None
            self._receive_window += self._consumed
            self._connection.send(wire.window_adjust(self._remote, self._consumed))
            self._consumed = 0

    # what we receive; `Connection` calls these

    def receive(self, number: int, data: memoryview, start: int, end: int) -> None:
        """Handle a message for this channel; its fields after the recipient are `data[start:end]`.

        Raises:
            MuxError: the message is malformed, or out of order.

        """
        # The first message is a confirmation or a failure, and no later one is.
        if (number <= Message.CHANNEL_OPEN_FAILURE) is not (self._remote is None):
            raise MuxError(f"message {number} out of order on channel {self._number}")
        _HANDLERS[number](self, data, start, end)

    def report_loss(self, reason: str) -> None:
        """Report that the connection is gone."""
        self._receiver.lost(reason)

    def socket_writable(self) -> None:
        """Report that the socket can take more data again, if a write is blocked."""
        if self._write_blocked and self._send_window > 0 and not self._close_sent:
            self._write_blocked = False
            self._receiver.writable()

    def _confirmed(self, data: memoryview, start: int, end: int) -> None:
        self._remote, self._send_window, self._max_packet = numbers_at(data, start, end)
        # A data message must fit into a packet of the control socket, with its head.
        self._max_packet = min(self._max_packet, wire.MAX_PACKET // 2)
        if self._max_packet == 0:
            raise MuxError(f"channel {self._number} has a maximum packet size of 0")
        self._pop_unanswered()
        self._receiver.opened()

    def _refused(self, data: memoryview, start: int, end: int) -> None:
        fields = Fields(data, start, end)
        code, text = fields.u32(), printable(fields.string(), _QUOTE_LENGTH)
        self._connection.forget(self._number)
        self._pop_unanswered()
        self._receiver.refused(text or f"reason {code}")

    def _adjusted(self, data: memoryview, start: int, end: int) -> None:
        self._send_window += Fields(data, start, end).u32()
        if self._send_window > _MAX_WINDOW:
            raise MuxError(f"a window of more than {_MAX_WINDOW:,} bytes on channel {self._number}")
        self.socket_writable()

    def _data(self, data: memoryview, start: int, end: int) -> None:
        self._deliver("stdout", Fields(data, start, end).string())

    def _extended(self, data: memoryview, start: int, end: int) -> None:
        fields = Fields(data, start, end)
        code, text = fields.u32(), fields.string()
        if code == _STDERR:
            self._deliver("stderr", text)
        else:
            self._count(len(text))
            self._grant()

    def _deliver(self, stream: Stream, data: bytes) -> None:
        self._count(len(data))
        if not self._close_sent:
            self._receiver.output(stream, data)
            self._grant()

    def _count(self, size: int) -> None:
        self._receive_window -= size
        self._consumed += size
        if self._receive_window < 0:
            raise MuxError(f"{-self._receive_window:,} bytes more on channel {self._number} than its window allows")

    def _ended(self, data: memoryview, start: int, end: int) -> None:
        pass  # the output has ended; the close comes later

    def _requested(self, data: memoryview, start: int, end: int) -> None:
        fields = Fields(data, start, end)
        name, wants_reply = fields.string(), fields.flag()
        if name == b"exit-status":
            self._receiver.exited(fields.u32())
        elif name == b"exit-signal":
            self._receiver.signalled(printable(fields.string(), 40))
        elif wants_reply and not self._close_sent:
            assert self._remote is not None
            self._connection.answer(wire.channel_failure(self._remote))

    def _succeeded(self, data: memoryview, start: int, end: int) -> None:
        self._answer(accepted=True)

    def _failed(self, data: memoryview, start: int, end: int) -> None:
        self._answer(accepted=False)

    def _answer(self, *, accepted: bool) -> None:
        if not self._unanswered:
            raise MuxError(f"an answer without a request on channel {self._number}")
        self._receiver.answered(self._pop_unanswered(), accepted=accepted)

    def _pop_unanswered(self) -> str:
        kind, number = self._unanswered.pop(0)
        self._connection.note_answer(number)
        return kind

    def _closed(self, data: memoryview, start: int, end: int) -> None:
        if self._remote is not None and not self._close_sent:
            self._close_sent = True
            self._connection.send_soon(wire.channel_close(self._remote))
        self._connection.forget(self._number)
        self._receiver.closed()


_HANDLERS: dict[int, Callable[[Channel, memoryview, int, int], None]] = {
    Message.CHANNEL_OPEN_CONFIRMATION: Channel._confirmed,
    Message.CHANNEL_OPEN_FAILURE: Channel._refused,
    Message.CHANNEL_WINDOW_ADJUST: Channel._adjusted,
    Message.CHANNEL_DATA: Channel._data,
    Message.CHANNEL_EXTENDED_DATA: Channel._extended,
    Message.CHANNEL_EOF: Channel._ended,
    Message.CHANNEL_REQUEST: Channel._requested,
    Message.CHANNEL_SUCCESS: Channel._succeeded,
    Message.CHANNEL_FAILURE: Channel._failed,
    Message.CHANNEL_CLOSE: Channel._closed,
}
