"""Give the commands of one fleet host their sessions: a queue, and the sessions of each connection.

    Queue.submit(command) -> a session (the spare, or a new one) -> command.begin(channel, sessions) -> channel_gone()

sshd allows a limited number of sessions on one connection (sshd_config(5): MaxSessions) and refuses further ones.
Nothing here waits for the host without a limit: a connection on which it does not answer is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

from sshfan_async.engine.ended import refused_session
from sshfan_async.loop.timers import Alarm
from sshfan_async.mux.channel import Receiver
from sshfan_async.mux.spare import Spare

if TYPE_CHECKING:
    from sshfan_async.mux.channel import Channel
    from sshfan_async.mux.connection import Connection
    from sshfan_async.mux.spare import Spares
    from sshfan_async.outcome import Clock
    from sshfan_async.sshlog.verdict import Verdict

__all__ = ["Queue", "Sessions"]

_MOST_REFUSALS = 1000
"""After so many, the connection is replaced: the master keeps each refused channel, up to 10,000 (channels.c)."""
_ANSWER_SECONDS = 10.0
"""Seconds after which a closed session counts as free although the host has answered nothing since."""


class Waiter(Receiver, Protocol):
    """A command that waits for a session, and then receives the events of its channel."""

    @property
    def has_ended(self) -> bool:
        """Whether it has its outcome, and so must not be sent."""
        ...

    def begin(self, channel: Channel, sessions: Sessions) -> None:
        """Send the command over `channel`, when that is open."""
        ...

    def fail(self, verdict: Verdict, clock: Clock | None = None) -> None:
        """Conclude with `verdict`: the command was not sent."""
        ...

    def stop(self, cause: Clock) -> None:
        """End it early: the clock `cause` has fired."""
        ...


class QueueOwner(Protocol):
    """The host that owns the queue."""

    @property
    def is_connecting(self) -> bool:
        """Whether a connection is being made, which has its own clock."""
        ...

    def busy(self) -> None:
        """The connection is in use."""
        ...

    def connect_for_waiting(self) -> None:
        """Commands are queued, and no connection can take them."""
        ...

    def free(self) -> None:
        """No command uses the connection."""
        ...

    def replace(self, sessions: Sessions, why: str) -> None:
        """The connection of `sessions` must get no further command."""
        ...

    def unused(self, sessions: Sessions) -> None:
        """No command waits for the connection of `sessions`, which gets no further one."""
        ...


class Queue:
    """The commands of one host that have no session yet. `attach` gives it each new connection."""

    def __init__(self, owner: QueueOwner, spares: Spares, most: int, connect_timeout: float | None) -> None:
        """`most`: the maximum number of sessions at once.

        `connect_timeout`: seconds for which a command waits while no session becomes free, and seconds for which it
        waits until its session is open; None for no limit.
        """
        self.sessions: Sessions | None = None
        """Those of the connection that gets the commands."""
        self.seconds = math.inf if connect_timeout is None else connect_timeout
        self.owner = owner
        self.spares = spares
        self.most = most
        self.now = asyncio.get_running_loop().time
        self.waiting: deque[Waiter] = deque()
        self._since: dict[Waiter, float] = {}
        """When each queued command began to wait, in seconds of the loop's clock."""
        self._moved_at = -math.inf
        """When a command left the queue last, or the host was connected."""
        self._alarm = Alarm(self._check)

    # the connection

    def attach(self, sessions: Sessions) -> None:
        """Give the commands to `sessions` from now on."""
        self.sessions, self._moved_at = sessions, self.now()
        self.pump()
        sessions.open_spare()

    def detach(self, sessions: Sessions) -> None:
        """Open no further session on the connection of `sessions`."""
        if sessions is self.sessions:
            self.sessions = None

    def close(self) -> None:
        """Stop the timer."""
        self._alarm.stop()

    # commands

    def submit(self, command: Waiter) -> None:
        """Run `command` as soon as there is a session for it."""
        if not self.waiting and self.sessions is not None and self.sessions.has_spare():
            self.owner.busy()
            self.sessions.begin(command, spare_next=True)
            return
        self.waiting.append(command)
        self._since[command] = self.now()
        self.pump()

    def waits_for(self, channel: Channel | None) -> str:
        """Return what a command waits for, in words. `channel`: the one that is being opened for it."""
        if channel is not None:
            return "the host did not open a session for it"
        return "the host was not connected" if self.sessions is None else "no session became free for it"

    def withdraw(self, command: Waiter) -> None:
        """Remove `command` from the queue, if it is there."""
        with contextlib.suppress(ValueError):
            self.waiting.remove(command)
            del self._since[command]

    def resubmit(self, command: Waiter) -> None:
        """Put `command` first in the queue: it has lost its session before it was sent."""
        self.waiting.appendleft(command)
        self._since[command] = self.now()

    def fail_waiting(self, verdict: Verdict, clock: Clock | None) -> None:
        """Fail all queued commands."""
        waiting, self.waiting = self.waiting, deque()
        self._since.clear()
        for command in waiting:
            command.fail(verdict, clock)

    def pump(self) -> None:
        """Begin the queued commands, as far as the host has sessions for them."""
        self.owner.busy()
        sessions = self.sessions
        if sessions is None or sessions.connection.is_lost:
            if self.waiting:
                self.owner.connect_for_waiting()
        else:
            while self.waiting and sessions.have_room():
                command = self.waiting.popleft()
                del self._since[command]
                self._moved_at = self.now()
                sessions.begin(command, spare_next=not self.waiting)
            if sessions.are_free and not self.waiting:
                self.owner.free()
        if self.waiting and not self._alarm.is_set and self.seconds < math.inf:
            self._alarm.set(self._next_expiry())

    def _next_expiry(self) -> float:
        return max(self._moved_at, min(self._since.values())) + self.seconds

    def _check(self) -> None:
        """Time out the commands that have waited too long while no other command got a session."""
        if self.owner.is_connecting:
            self._moved_at = self.now()
        if self._moved_at + self.seconds <= (now := self.now()):
            for command in [each for each, since in self._since.items() if since + self.seconds <= now]:
                command.stop("connect_timeout")
        if self.waiting:
            self._alarm.set(self._next_expiry())


class Sessions:
    """The sessions of one connection. The commands on it report the events of their channels here."""

    def __init__(self, queue: Queue, connection: Connection) -> None:
        self.connection = connection
        self._queue = queue
        self._now = queue.now
        self._room = queue.most
        self._active = 0
        self._closing: deque[tuple[int, float]] = deque()
        """For each close that the host may not have read yet: the number of the last request before it, and when it
        is taken as read."""
        self._opening: dict[Waiter, tuple[int, float]] = {}
        """For each command whose session is being opened: the number of other sessions that the host may count, and
        when the command times out."""
        self._abandoned: dict[Waiter, float] = {}
        """For each command that has ended while the host has not opened or closed its session: when the session is
        taken as stuck."""
        self._spare: Spare | None = None
        self._refusals = 0
        self._close_waits = False
        """Whether the close of a session may be sent together with the next opening."""
        self._alarm = Alarm(self._check)

    @property
    def are_free(self) -> bool:
        """Whether no command that has a session waits for its end."""
        return self._active == len(self._abandoned)

    def close(self) -> None:
        """Stop the timer: the connection is gone."""
        self._spare = None
        self._alarm.stop()

    # events of the channels, from the commands and the spare

    def opened(self, command: Waiter) -> None:
        """The host has opened a session for `command`."""
        del self._opening[command]
        self.answered()

    def answered(self) -> None:
        """The host has answered something, and so has read everything that was sent before it."""
        if self._queue.waiting:
            self._queue.pump()

    def abandoned(self, command: Waiter, seconds: float) -> None:
        """`command` has ended. The host has `seconds` to answer the opening or the close of its session."""
        self._abandoned[command] = self._now() + seconds
        self._settle()

    def channel_gone(self, command: Waiter) -> None:
        """The channel of `command` is closed. Its session is free when the host has read that."""
        self._leave(command)
        self._add_closing()
        if self._spare is None or self._queue.waiting or self._refusals > 0:
            self.connection.hurry()  # the next command needs this session
        else:
            self._close_waits = True
        self._settle()

    def refused(self, command: Waiter, reason: str) -> None:
        """The host refused a session for `command`: it has as many as it allows."""
        others, _ = self._opening[command]
        self._leave(command)
        self._note_refusal(others)
        if others > 0 and not command.has_ended:
            self._queue.resubmit(command)
        else:
            command.fail(refused_session(reason))
        self._settle()

    def spare_refused(self, spare: Spare) -> None:
        """The host refused the spare session."""
        self._spare = None
        # With the close of another session in the same turn, this shows no limit: try once more.
        self._note_refusal(0 if spare.follows_close else spare.others)
        self.answered()
        if spare.follows_close and self._queue.sessions is self:
            self.open_spare()

    def spare_gone(self, spare: Spare) -> None:
        """`spare` is closed, by us or by the host. Ignore it if a command has the spare."""
        if spare is self._spare:
            self._spare = None
            self._add_closing()
            self.connection.hurry()

    def _leave(self, command: Waiter) -> None:
        self._active -= 1
        if self._opening:
            self._opening.pop(command, None)
        if self._abandoned:
            self._abandoned.pop(command, None)

    def _settle(self) -> None:
        if self.are_free and self._queue.sessions is not self:
            self._queue.owner.unused(self)
        self._queue.pump()

    def _note_refusal(self, others: int) -> None:
        if others > 0:
            self._room = min(self._room, others)
        self._refusals += 1
        if self._refusals >= _MOST_REFUSALS:
            self._queue.owner.replace(self, "replaced after many refused sessions")

    # opening sessions

    def has_spare(self) -> bool:
        """Return whether the spare session can be used. If the loop was blocked, it may be older than its timer."""
        if self._spare is not None and self._spare.until <= self._now():
            self._spare.expire()
        return self._spare is not None and not self.connection.is_lost

    def have_room(self) -> bool:
        """Return whether the host has a session for one more command. If not, set the timer of the next check."""
        if self.has_spare() or self._has_room():
            return True
        self._alarm.set(min((*self._abandoned.values(), *(at for _, at in self._closing)), default=math.inf))
        return False

    def begin(self, command: Waiter, *, spare_next: bool) -> None:
        """Give `command` the spare session or a new one. `spare_next`: then open a spare one."""
        spare, self._spare = self._spare, None
        if spare is None:
            others, channel = self._active + len(self._closing), self.connection.open_channel(command)
        else:
            others, channel = spare.others, spare.pass_to(command)
        if not channel.is_open:
            until = self._now() + self._queue.seconds
            self._opening[command] = others, until
            self._alarm.set(until)
        self._active += 1
        command.begin(channel, self)
        if spare_next:
            self.open_spare()

    def open_spare(self) -> None:
        """Open a session for the next command, if there is none and the host allows one more."""
        self._forget_closed()
        others = self._active + len(self._closing)
        if self._spare is None and others < self._room:
            follows, self._close_waits = self._close_waits, False
            self._spare = Spare(self, self._queue.spares, self.connection, others, follows_close=follows)

    def _has_room(self) -> bool:
        """Return whether the host allows one more session.

        sshd frees a session at the end of the turn in which it reads our close, and refuses a new one that it reads
        in the same turn (serverloop.c: server_loop2; channels.c: channel_garbage_collect). So a session is free when
        the host has answered a request that was sent after the close. If there was none, send a keepalive. If no
        channel is open for it, try a new session.
        """
        self._forget_closed()
        if self._active + len(self._closing) < self._room or self._active == 0:
            return True
        if self._active < self._room and self.connection.requests_sent <= self._closing[-1][0]:
            return not self.connection.send_keepalive()
        return False

    def _add_closing(self) -> None:
        self._closing.append((self.connection.requests_sent, self._now() + _ANSWER_SECONDS))

    def _forget_closed(self) -> None:
        if self._closing:
            answered, now = self.connection.last_answered, self._now()
            while self._closing and (self._closing[0][0] < answered or self._closing[0][1] <= now):
                self._closing.popleft()

    def _check(self) -> None:
        """Time out what the host has not opened, and replace a connection on which it does not answer."""
        now, owner = self._now(), self._queue.owner
        late = [each for each, (_, until) in self._opening.items() if until <= now and not each.has_ended]
        if late:
            owner.replace(self, f"the host did not open a session within {self._queue.seconds:g} s")
            for command in late:
                command.stop("connect_timeout")
        if self._queue.sessions is self and self._queue.waiting and not self.have_room() and self._stuck(now):
            owner.replace(self, "the host did not open or close a session in time")
        self._queue.pump()
        self._alarm.set(min((until for _, until in self._opening.values() if until > now), default=math.inf))

    def _stuck(self, now: float) -> bool:
        return any(until <= now for until in self._abandoned.values())
