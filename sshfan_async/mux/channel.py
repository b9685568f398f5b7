"""One channel: a session on the host, and what its receiver is told of it (RFC 4254, 5 and 6)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from sshfan_async.escape import printable
from sshfan_async.mux import wire
from sshfan_async.mux.wire import WINDOW, Fields, Message, MuxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.event import Stream

__all__ = ["Channel", "Receiver"]

_SAID = 200
"""Characters of what the host says that go into a reason."""
_STDERR = 1  # RFC 4254, 5.2: SSH_EXTENDED_DATA_STDERR
_MOST = 2**32 - 1  # RFC 4254, 5.2: no window may grow beyond


class Receiver(Protocol):
    """Who is told what happens on a channel. Every call comes in the event loop; none may raise."""

    def opened(self) -> None:
        """The host has opened the session: commands may be sent."""

    def refused(self, reason: str) -> None:
        """The host opens no session; nothing more comes."""

    def answered(self, request: str, *, accepted: bool) -> None:
        """The host has answered `"exec"`, `"signal"` or `"keepalive"`."""

    def output(self, stream: Stream, data: bytes) -> None:
        """The command has written `data`."""

    def writable(self) -> None:
        """`Channel.write` takes more again."""

    def exited(self, code: int) -> None:
        """The command has exited with `code`."""

    def signalled(self, name: str) -> None:
        """The command died of the signal `name`, without `SIG`."""

    def closed(self) -> None:
        """The host has closed the channel; nothing more comes."""

    def lost(self, reason: str) -> None:
        """The connection is gone; nothing more comes."""


class ChannelOwner(Protocol):
    """What a channel needs of its connection."""

    is_full: bool
    asked: int

    def send(self, *packets: bytes) -> None: ...

    def forget(self, number: int) -> None: ...

    def note_answer(self, question: int) -> None: ...


class Channel:
    """A session channel, made by `Connection.open_channel`.

    While it is paused the host is granted no further window, and stops sending after `WINDOW` bytes.
    """

    __slots__ = (
        "_asked",
        "_close_sent",
        "_connection",
        "_eof_sent",
        "_longest",
        "_number",
        "_paused",
        "_receiver",
        "_remote",
        "_room",
        "_taken",
        "_wants_room",
        "_window",
    )

    def __init__(self, connection: ChannelOwner, number: int, receiver: Receiver, question: int) -> None:
        """`question`: the number of the open among all questions of the connection."""
        self._connection = connection
        self._number = number
        self._receiver = receiver
        self._remote: int | None = None
        self._window = WINDOW
        self._taken = 0
        self._paused = False
        self._room = 0
        self._longest = 0
        self._wants_room = False
        self._eof_sent = False
        self._close_sent = False
        self._asked: deque[tuple[str, int]] = deque([("open", question)])

    @property
    def is_open(self) -> bool:
        """Whether the host has opened the session, and we have not closed it."""
        return self._remote is not None and not self._close_sent

    def hand_to(self, receiver: Receiver) -> None:
        """Tell `receiver` what happens from now on."""
        self._receiver = receiver

    # what we send

    def set_variable(self, name: str, value: str) -> None:
        """Set an environment variable for the command, if the host takes it (sshd_config(5): AcceptEnv)."""
        self._request(b"env", name.encode(), value.encode("utf-8", "surrogateescape"))

    def execute(self, command: bytes) -> None:
        """Have the host's login shell run `command`; `Receiver.answered` tells whether it does."""
        self._request(b"exec", command, answer="exec")

    def signal(self, name: str) -> None:
        """Signal the command's process group (`"TERM"`); `Receiver.answered` tells whether the host did.

        RFC 4254, 6.9, wants no reply to this request, but OpenSSH and dropbear give one where asked to
        (serverloop.c: server_input_channel_req).
        """
        self._request(b"signal", name.encode("ascii"), answer="signal")

    def ask(self) -> bool:
        """Ask for an answer, `"keepalive"`, as OpenSSH does itself; False where the channel is not open."""
        if not self.is_open:
            return False
        self._request(b"keepalive@openssh.com", answer="keepalive")
        return True

    def write(self, data: bytes | memoryview) -> int:
        """Send the beginning of `data` to the command's standard input; return how many bytes.

        Fewer than given, or none, where the host or the socket takes no more: `Receiver.writable` is told when to go
        on.
        """
        count = min(len(data), self._room, self._longest)
        if count > 0 and not self._connection.is_full:
            assert self._remote is not None
            self._room -= count
            self._connection.send(wire.channel_data_head(self._remote, count), bytes(data[:count]))
        else:
            count = 0
        if count < len(data):
            self._wants_room = True
        return count

    def write_eof(self) -> None:
        """End the command's standard input."""
        if self._remote is not None and not self._eof_sent and not self._close_sent:
            self._eof_sent = True
            self._connection.send(wire.channel_eof(self._remote))

    def close(self) -> None:
        """Close the channel from our side; the host's answer still comes as `Receiver.closed`."""
        if self._remote is not None and not self._close_sent:
            self._close_sent = True
            self._connection.send(wire.channel_close(self._remote))

    def pause(self) -> None:
        """Grant the host no further window, until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Grant the host window again."""
        self._paused = False
        self._grant()

    def _request(self, name: bytes, *strings: bytes, answer: str = "") -> None:
        if self._remote is None or self._close_sent:
            return
        if answer != "":
            self._connection.asked += 1
            self._asked.append((answer, self._connection.asked))
        self._connection.send(wire.channel_request(self._remote, name, *strings, reply=answer != ""))

    def _grant(self) -> None:
        if self._taken >= WINDOW // 2 and not self._paused and not self._close_sent:
            assert self._remote is not None
            self._window += self._taken
            self._connection.send(wire.window_adjust(self._remote, self._taken))
            self._taken = 0

    # what comes: only `Connection` calls these

    def take(self, number: int, data: memoryview, start: int, end: int) -> None:
        """Take a message whose fields, less the recipient, are `data[start:end]`.

        Raises:
            MuxError: it is malformed, or out of order.

        """
        handler = _HANDLERS[number]
        expected = number in (Message.CHANNEL_OPEN_CONFIRMATION, Message.CHANNEL_OPEN_FAILURE)
        if expected is not (self._remote is None):
            raise MuxError(f"message {number} out of order on channel {self._number}")
        handler(self, Fields(data, start, end))

    def take_data(self, data: bytes) -> None:
        """Take a piece of the command's standard output."""
        self._deliver("stdout", data)

    def lose(self, reason: str) -> None:
        """The connection is gone."""
        self._receiver.lost(reason)

    def socket_writable(self) -> None:
        """The socket takes more again."""
        if self._wants_room and self._room > 0 and not self._close_sent:
            self._wants_room = False
            self._receiver.writable()

    def _confirmed(self, fields: Fields) -> None:
        self._remote, self._room, self._longest = fields.u32(), fields.u32(), fields.u32()
        # Behind a data message's head there must be room for data, and none may be longer than the socket takes.
        self._longest = min(self._longest, wire.LONGEST // 2)
        if self._longest == 0:
            raise MuxError(f"channel {self._number} takes packets of no size")
        self._take_answer()
        self._receiver.opened()

    def _refused(self, fields: Fields) -> None:
        code, said = fields.u32(), printable(fields.string(), _SAID)
        self._connection.forget(self._number)
        self._take_answer()
        self._receiver.refused(said or f"reason {code}")

    def _adjusted(self, fields: Fields) -> None:
        self._room += fields.u32()
        if self._room > _MOST:
            raise MuxError(f"a window beyond {_MOST:,} bytes on channel {self._number}")
        self.socket_writable()

    def _extended(self, fields: Fields) -> None:
        code, data = fields.u32(), fields.string()
        if code == _STDERR:
            self._deliver("stderr", data)
        else:
            self._count(len(data))
            self._grant()

    def _deliver(self, stream: Stream, data: bytes) -> None:
        if self._remote is None:
            raise MuxError(f"data on channel {self._number}, which is not open yet")
        self._count(len(data))
        if not self._close_sent:
            self._receiver.output(stream, data)
            self._grant()

    def _count(self, size: int) -> None:
        self._window -= size
        self._taken += size
        if self._window < 0:
            raise MuxError(f"{-self._window:,} bytes more on channel {self._number} than its window allows")

    def _ended(self, fields: Fields) -> None:
        pass  # the end of the output: the exit status or the close says more

    def _requested(self, fields: Fields) -> None:
        name, wants_reply = fields.string(), fields.flag()
        if name == b"exit-status":
            self._receiver.exited(fields.u32())
        elif name == b"exit-signal":
            self._receiver.signalled(printable(fields.string(), 40))
        elif wants_reply and not self._close_sent:
            assert self._remote is not None
            self._connection.send(wire.channel_failure(self._remote))

    def _succeeded(self, fields: Fields) -> None:
        self._answer(accepted=True)

    def _failed(self, fields: Fields) -> None:
        self._answer(accepted=False)

    def _answer(self, *, accepted: bool) -> None:
        if not self._asked:
            raise MuxError(f"an answer on channel {self._number} that nobody asked for")
        self._receiver.answered(self._take_answer(), accepted=accepted)

    def _take_answer(self) -> str:
        request, question = self._asked.popleft()
        self._connection.note_answer(question)
        return request

    def _closed(self, fields: Fields) -> None:
        self.close()
        self._connection.forget(self._number)
        self._receiver.closed()


_HANDLERS: dict[int, Callable[[Channel, Fields], None]] = {
    Message.CHANNEL_OPEN_CONFIRMATION: Channel._confirmed,
    Message.CHANNEL_OPEN_FAILURE: Channel._refused,
    Message.CHANNEL_WINDOW_ADJUST: Channel._adjusted,
    Message.CHANNEL_EXTENDED_DATA: Channel._extended,
    Message.CHANNEL_EOF: Channel._ended,
    Message.CHANNEL_REQUEST: Channel._requested,
    Message.CHANNEL_SUCCESS: Channel._succeeded,
    Message.CHANNEL_FAILURE: Channel._failed,
    Message.CHANNEL_CLOSE: Channel._closed,
}
