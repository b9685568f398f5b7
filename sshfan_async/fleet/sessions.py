"""A fleet host's sessions: the commands that wait for one, those that have one, and a spare opened ahead.

    submit(command) -> waiting -> a session (the spare, or a new one) -> command.begin(channel) -> channel_gone()

sshd takes a limited number of sessions on one connection (sshd_config(5): MaxSessions) and refuses the rest.
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
"""Seconds for which a spare session is used, from its opening.

Later the connection may have died without a sign, and a command that was sent is never sent again. So the next
command opens a session of its own, and is sent when the host answers. An idle host must not hold a session open.
"""

_MOST_REFUSALS = 1000
"""After this many the connection is replaced: the master keeps each refused channel, up to 10,000 (channels.c)."""


class Waiter(Protocol):
    """A command that waits for a session, and then receives what its channel reports."""

    @property
    def has_ended(self) -> bool:
        """Whether it has its outcome, so that it is not to be sent."""
        ...

    def begin(self, channel: Channel) -> None:
        """Use `channel`, open or to be opened."""
        ...

    def fail(self, verdict: Verdict, clock: Clock | None = None) -> None:
        """End without having been sent."""
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
    """The host whose sessions these are."""

    def busy(self) -> None:
        """The connection is in use."""
        ...

    def connect_for_waiting(self) -> None:
        """Commands wait, and there is no connection that takes them."""
        ...

    def free(self) -> None:
        """No command uses the connection."""
        ...

    def replace_when_free(self, why: str) -> None:
        """The connection must take no further command."""
        ...


class Sessions:
    """The queue of one host. It survives the host's connections: each is given with `attach`."""

    def __init__(self, owner: SessionsOwner, spares: Spares, most: int) -> None:
        """`most`: sessions at once."""
        self._owner = owner
        self._spares = spares
        self._most = most
        self._room = most
        self._connection: Connection | None = None
        self._waiting: deque[Waiter] = deque()
        self._active = 0
        self._closing: deque[int] = deque()
        """For each close that the host may not have read, the number of questions asked before it."""
        self._opening: dict[Waiter, int] = {}
        """Commands that wait for their session, and the sessions of ours that the host may count besides, at most."""
        self._spare: Spare | None = None
        self._refusals = 0
        self._draining = False

    @property
    def are_waiting(self) -> bool:
        """Whether commands wait for a session."""
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
        """Forget a command that has not begun, if it was submitted at all."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(command)

    def resubmit(self, command: Waiter) -> None:
        """Put `command` first in the queue: its connection was lost before it was sent."""
        self._waiting.appendleft(command)

    def fail_waiting(self, verdict: Verdict, clock: Clock | None) -> None:
        """End all commands that wait."""
        waiting, self._waiting = self._waiting, deque()
        for command in waiting:
            command.fail(verdict, clock)

    # what the commands and the spare report of their channels

    def opened(self, command: Waiter) -> None:
        """The host has opened a session for `command`."""
        del self._opening[command]
        self.answered()

    def answered(self) -> None:
        """The host has answered something, and so has read all that was sent before."""
        if self._waiting:
            self.pump()

    def channel_gone(self) -> None:
        """A command's channel is gone: its session is free when the host knows that."""
        self._active -= 1
        if self._connection is not None:
            self._closing.append(self._connection.asked)
            self._forget_closed(self._connection)
        self.pump()

    def refused(self, command: Waiter, reason: str) -> None:
        """The host has opened no session for `command`: it has as many as it takes."""
        self._active -= 1
        beside = self._opening.pop(command)
        self._note_refusal(beside)
        if beside > 0 and not command.has_ended:
            self._waiting.appendleft(command)
        else:
            command.fail(refused_session(reason))
        self.pump()

    def spare_refused(self, spare: Spare) -> None:
        """The host has opened no session ahead of a command."""
        self._spare = None
        self._note_refusal(spare.beside)
        self.answered()

    def spare_gone(self, spare: Spare) -> None:
        """`spare` is closed, by us or by the host; nothing if a command has it."""
        if spare is self._spare:
            self._spare = None
            assert self._connection is not None
            self._closing.append(self._connection.asked)

    def _note_refusal(self, beside: int) -> None:
        if beside > 0:
            self._room = min(self._room, beside)
        self._refusals += 1
        if self._refusals >= _MOST_REFUSALS:
            self._owner.replace_when_free("replaced after many refused sessions")

    # opening sessions

    def pump(self) -> None:
        """Begin the commands that wait, as far as the host has sessions for them."""
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
        """Begin the command that has waited longest; return False if the host has no session for it."""
        if self._spare is not None and self._spare.has_expired():
            self._spare.expire()
        spare, self._spare = self._spare, None
        if spare is None and not self._has_room(connection):
            return False
        command = self._waiting.popleft()
        if spare is None:
            beside, channel = self._active + len(self._closing), connection.open_channel(command)
        else:
            beside, channel = spare.beside, spare.hand_to(command)
        if not channel.is_open:
            self._opening[command] = beside
        self._active += 1
        command.begin(channel)
        if not self._waiting:
            self._open_spare(connection)
        return True

    def _open_spare(self, connection: Connection) -> None:
        """Open a session for the next command, if the host takes one more than it may have now."""
        self._forget_closed(connection)
        beside = self._active + len(self._closing)
        if beside < self._room:
            self._spare = Spare(self, self._spares, connection, beside)

    def _has_room(self, connection: Connection) -> bool:
        """Return whether the host takes one more session.

        sshd frees a session at the end of the turn in which it reads our close, and refuses a new one that it reads
        in the same turn (serverloop.c: server_loop2; channels.c: channel_garbage_collect). So a session is free when
        the host has answered something that was sent after the close. If nothing was, we ask. If no channel is open
        to ask on, the new session is the question.
        """
        self._forget_closed(connection)
        if self._active + len(self._closing) < self._room or self._active == 0:
            return True
        if self._active < self._room and connection.asked <= self._closing[-1]:
            return not connection.ask()
        return False

    def _forget_closed(self, connection: Connection) -> None:
        while self._closing and self._closing[0] < connection.answered:
            self._closing.popleft()


class Spare:
    """A session opened ahead of its command, which then takes one round trip instead of two.

    It receives its channel's reports until a command takes the channel, or it expires.
    """

    __slots__ = ("_channel", "_sessions", "_spares", "beside")

    def __init__(self, sessions: Sessions, spares: Spares, connection: Connection, beside: int) -> None:
        """`beside`: the sessions of ours that the host may count besides, at most."""
        self.beside = beside
        self._sessions = sessions
        self._spares = spares
        self._channel: Channel = connection.open_channel(self)

    def hand_to(self, command: Waiter) -> Channel:
        """Return the channel; `command` receives its reports from now on."""
        self._spares.discard(self)
        self._channel.hand_to(command)
        return self._channel

    def has_expired(self) -> bool:
        """Return whether it is too old. In a loop that was blocked, a command can come before our timer."""
        return self._spares.has_expired(self)

    def expire(self) -> None:
        """Close it unused."""
        self._spares.discard(self)
        self._channel.close()
        self._sessions.spare_gone(self)

    # what the channel reports

    def opened(self) -> None:
        """The session is ready."""
        self._spares.add(self)
        self._sessions.answered()

    def refused(self, reason: str) -> None:
        """The host takes no further session."""
        self._sessions.spare_refused(self)

    def answered(self, request: str, *, accepted: bool) -> None:
        """Nothing is asked on it."""

    def closed(self) -> None:
        """It is closed, by us or by the host."""
        self._spares.discard(self)
        self._sessions.spare_gone(self)

    def lost(self, reason: str) -> None:
        """It is gone with the connection."""
        self._spares.discard(self)

    def output(self, stream: Stream, data: bytes) -> None:
        """No command runs in it."""

    def writable(self) -> None:
        """Nothing is written to it."""

    def exited(self, code: int) -> None:
        """No command runs in it."""

    def signalled(self, name: str) -> None:
        """No command runs in it."""


class Spares:
    """The open spare sessions of a fleet, with one timer for all: one for each would be most of their cost."""

    def __init__(self) -> None:
        self._until: dict[Spare, float] = {}
        """The loop's time at which each expires, the earliest first."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, spare: Spare) -> None:
        """Let `spare` expire after its lifetime."""
        loop = asyncio.get_running_loop()
        self._until[spare] = loop.time() + _SPARE_LIFETIME
        if self._timer is None:
            self._timer = loop.call_later(_SPARE_LIFETIME, self._expire)

    def has_expired(self, spare: Spare) -> bool:
        """Return whether the lifetime of `spare` is over; it begins when the session is open."""
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
