"""Give the commands of one fleet host their sessions: a queue, the open sessions, and a spare one opened ahead.

    submit(command) -> queue -> a session (the spare, or a new one) -> command.begin(channel) -> channel_gone()

sshd allows a limited number of sessions on one connection (sshd_config(5): MaxSessions) and refuses further ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

from sshfan_async.engine.ended import refused_session

if TYPE_CHECKING:
    from sshfan_async.event import Stream
    from sshfan_async.mux.channel import Channel
    from sshfan_async.mux.connection import Connection
    from sshfan_async.outcome import Clock
    from sshfan_async.sshlog.verdict import Verdict

__all__ = ["Sessions", "Spares"]

_SPARE_LIFETIME = 2.0
"""Seconds for which a spare session may be used, after it was opened.

Later, the connection may be dead with no sign of it, and a command that was sent is never sent again. So a later
command opens a session of its own, and is sent when the host answers. An idle host must not hold a session open.
"""

_MOST_REFUSALS = 1000
"""After so many, the connection is replaced: the master keeps each refused channel, up to 10,000 (channels.c)."""


class Waiter(Protocol):
    """A command that waits for a session, and then receives the events of its channel."""

    @property
    def has_ended(self) -> bool:
        """Whether it has its outcome, and so must not be sent."""
        ...

    def begin(self, channel: Channel) -> None:
        """Send the command over `channel`, when that is open."""
        ...

    def fail(self, verdict: Verdict, clock: Clock | None = None) -> None:
        """Conclude with `verdict`: the command was not sent."""
        ...

    def opened(self) -> None: ...

    def refused(self, reason: str) -> None: ...

    def answered(self, request: str, *, accepted: bool) -> None: ...

    def output(self, stream: Stream, data: bytes) -> None: ...

    def writable(self) -> None: ...

    def exited(self, code: int) -> None: ...

    def signalled(self, name: str) -> None: ...

    def closed(self) -> None: ...

    def lost(self, reason: str) -> None: ...


class SessionsOwner(Protocol):
    """The host that owns the sessions."""

    def busy(self) -> None:
        """The connection is in use."""
        ...

    def connect_for_waiting(self) -> None:
        """Commands are queued, and no connection can take them."""
        ...

    def free(self) -> None:
        """No command uses the connection."""
        ...

    def replace_when_free(self, why: str) -> None:
        """The connection must get no further command."""
        ...


class Sessions:
    """The queue and the sessions of one host. `attach` gives it each new connection."""

    def __init__(self, owner: SessionsOwner, spares: Spares, most: int) -> None:
        """`most`: the maximum number of sessions at once."""
        self._owner = owner
        self._spares = spares
        self._most = most
        self._room = most
        self._connection: Connection | None = None
        self._waiting: deque[Waiter] = deque()
        self._active = 0
        self._closing: deque[int] = deque()
        """For each close that the host may not have read yet, the number of the last request before it."""
        self._opening: dict[Waiter, int] = {}
        """Each command whose session is being opened, with the number of other sessions that the host may count."""
        self._spare: Spare | None = None
        self._refusals = 0
        self._draining = False

    @property
    def are_waiting(self) -> bool:
        """Whether commands are queued."""
        return bool(self._waiting)

    @property
    def are_free(self) -> bool:
        """Whether no command has a session."""
        return self._active == 0

    # the connection

    def attach(self, connection: Connection) -> None:
        """Open sessions on `connection` from now on."""
        self._connection = connection
        self._room, self._refusals, self._draining = self._most, 0, False
        self.pump()
        if self._active == 0:
            self._open_spare(connection)

    def drain(self) -> None:
        """Open no further session on this connection."""
        self._draining = True

    def detach(self) -> None:
        """Forget the connection: it is gone."""
        self._connection = self._spare = None
        self._closing.clear()
        self._opening.clear()

    # commands

    def submit(self, command: Waiter) -> None:
        """Run `command` as soon as there is a session for it."""
        self._waiting.append(command)
        self.pump()

    def withdraw(self, command: Waiter) -> None:
        """Remove `command` from the queue, if it is there."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(command)

    def resubmit(self, command: Waiter) -> None:
        """Put `command` first in the queue: its connection was lost before it was sent."""
        self._waiting.appendleft(command)

    def fail_waiting(self, verdict: Verdict, clock: Clock | None) -> None:
        """Fail all queued commands."""
        waiting, self._waiting = self._waiting, deque()
        for command in waiting:
            command.fail(verdict, clock)

    # events of the channels, from the commands and the spare

    def opened(self, command: Waiter) -> None:
        """The host has opened a session for `command`."""
        del self._opening[command]
        self.answered()

    def answered(self) -> None:
        """The host has answered something, and so has read everything that was sent before it."""
        if self._waiting:
            self.pump()

    def channel_gone(self) -> None:
        """A command's channel is closed. Its session is free when the host has read that."""
        self._active -= 1
        if self._connection is not None:
            self._closing.append(self._connection.requests_sent)
            self._forget_closed(self._connection)
        self.pump()

    def refused(self, command: Waiter, reason: str) -> None:
        """The host refused a session for `command`: it has as many as it allows."""
        self._active -= 1
        others = self._opening.pop(command)
        self._note_refusal(others)
        if others > 0 and not command.has_ended:
            self._waiting.appendleft(command)
        else:
            command.fail(refused_session(reason))
        self.pump()

    def spare_refused(self, spare: Spare) -> None:
        """The host refused the spare session."""
        self._spare = None
        self._note_refusal(spare.others)
        self.answered()

    def spare_gone(self, spare: Spare) -> None:
        """`spare` is closed, by us or by the host. Ignore it if a command has the spare."""
        if spare is self._spare:
            self._spare = None
            assert self._connection is not None
            self._closing.append(self._connection.requests_sent)

    def _note_refusal(self, others: int) -> None:
        if others > 0:
            self._room = min(self._room, others)
        self._refusals += 1
        if self._refusals >= _MOST_REFUSALS:
            self._owner.replace_when_free("replaced after many refused sessions")

    # opening sessions

    def pump(self) -> None:
        """Begin the queued commands, as far as the host has sessions for them."""
        self._owner.busy()
        connection = self._connection
        if connection is None or connection.is_lost or self._draining:
            if self._waiting:
                self._owner.connect_for_waiting()
        else:
            while self._waiting and self._begin_next(connection):
                pass
        if self._active == 0 and self._connection is not None and (self._draining or not self._waiting):
            self._owner.free()

    def _begin_next(self, connection: Connection) -> bool:
        """Begin the first queued command; return False if the host has no session for it."""
        if self._spare is not None and self._spare.has_expired():
            self._spare.expire()
        spare, self._spare = self._spare, None
        if spare is None and not self._has_room(connection):
            return False
        command = self._waiting.popleft()
        if spare is None:
            others, channel = self._active + len(self._closing), connection.open_channel(command)
        else:
            others, channel = spare.others, spare.pass_to(command)
        if not channel.is_open:
            self._opening[command] = others
        self._active += 1
        command.begin(channel)
        if not self._waiting:
            self._open_spare(connection)
        return True

    def _open_spare(self, connection: Connection) -> None:
        """Open a session for the next command, if the host allows one more."""
        self._forget_closed(connection)
        others = self._active + len(self._closing)
        if others < self._room:
            self._spare = Spare(self, self._spares, connection, others)

    def _has_room(self, connection: Connection) -> bool:
        """Return whether the host allows one more session.

        sshd frees a session at the end of the turn in which it reads our close, and refuses a new one that it reads
        in the same turn (serverloop.c: server_loop2; channels.c: channel_garbage_collect). So a session is free when
        the host has answered a request that was sent after the close. If there was none, send a keepalive. If no
        channel is open for it, try a new session.
        """
        self._forget_closed(connection)
        if self._active + len(self._closing) < self._room or self._active == 0:
            return True
        if self._active < self._room and connection.requests_sent <= self._closing[-1]:
            return not connection.send_keepalive()
        return False

    def _forget_closed(self, connection: Connection) -> None:
        while self._closing and self._closing[0] < connection.last_answered:
            self._closing.popleft()


class Spare:
    """A session opened ahead of its command, which then takes one round trip instead of two.

    It receives the events of its channel until it is passed to a command, or expires.
    """

    __slots__ = ("_channel", "_sessions", "_spares", "others")

    def __init__(self, sessions: Sessions, spares: Spares, connection: Connection, others: int) -> None:
        """`others`: the number of other sessions that the host may count when it opens this one."""
        self.others = others
        self._sessions = sessions
        self._spares = spares
        self._channel: Channel = connection.open_channel(self)

    def pass_to(self, command: Waiter) -> Channel:
        """Return the channel; from now on `command` receives its events."""
        self._spares.discard(self)
        self._channel.set_receiver(command)
        return self._channel

    def has_expired(self) -> bool:
        """Return whether it is too old: if the loop was blocked, a command can come before the timer."""
        return self._spares.has_expired(self)

    def expire(self) -> None:
        """Close it unused."""
        self._spares.discard(self)
        self._channel.close()
        self._sessions.spare_gone(self)

    # events of the channel

    def opened(self) -> None:
        """Start the lifetime: the session is open."""
        self._spares.add(self)
        self._sessions.answered()

    def refused(self, reason: str) -> None:
        """Report that the host refused the session."""
        self._sessions.spare_refused(self)

    def answered(self, request: str, *, accepted: bool) -> None:
        """Ignore it: a spare may be asked for a keepalive."""

    def closed(self) -> None:
        """Report that the session is closed, by us or by the host."""
        self._spares.discard(self)
        self._sessions.spare_gone(self)

    def lost(self, reason: str) -> None:
        """Stop the lifetime: the connection is gone."""
        self._spares.discard(self)

    def output(self, stream: Stream, data: bytes) -> None:
        """Ignore it: no command runs in the session."""

    def writable(self) -> None:
        """Ignore it: nothing is written to the session."""

    def exited(self, code: int) -> None:
        """Ignore it: no command runs in the session."""

    def signalled(self, name: str) -> None:
        """Ignore it: no command runs in the session."""


class Spares:
    """The open spare sessions of a fleet. They share one timer: one for each would be most of their cost."""

    def __init__(self) -> None:
        self._until: dict[Spare, float] = {}
        """When each expires, in seconds of the loop's clock, the earliest first."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, spare: Spare) -> None:
        """Start the lifetime of `spare`."""
        loop = asyncio.get_running_loop()
        self._until[spare] = loop.time() + _SPARE_LIFETIME
        if self._timer is None:
            self._timer = loop.call_later(_SPARE_LIFETIME, self._expire)

    def has_expired(self, spare: Spare) -> bool:
        """Return whether the lifetime of `spare` is over. It has not begun before the session is open."""
        return self._until.get(spare, math.inf) <= asyncio.get_running_loop().time()

    def discard(self, spare: Spare) -> None:
        """Forget `spare`, if it is known."""
        self._until.pop(spare, None)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        while self._until:
            spare, until = next(iter(self._until.items()))
            if until > loop.time():
                self._timer = loop.call_at(until, self._expire)
                return
            spare.expire()
