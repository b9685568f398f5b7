"""A session opened ahead of its command, and the timer that closes it if no command comes."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sshfan_async.event import Stream
    from sshfan_async.mux.channel import Channel, Receiver
    from sshfan_async.mux.connection import Connection

__all__ = ["Spare", "Spares"]

_SPARE_LIFETIME = 2.0
"""Seconds for which a spare session may be used, after it was opened.

Later, the connection may be dead with no sign of it, and a command that was sent is never sent again. So a later
command opens a session of its own, and is sent when the host answers. An idle host must not hold a session open.
"""


class SpareOwner(Protocol):
    """The sessions that a spare belongs to."""

    def answered(self) -> None: ...

    def spare_refused(self, spare: Spare) -> None: ...

    def spare_gone(self, spare: Spare) -> None: ...


class Spare:
    """A session opened ahead of its command, which then takes one round trip instead of two.

    It receives the events of its channel until it is passed to a command, or expires.
    """

    __slots__ = ("_channel", "_sessions", "_spares", "follows_close", "others", "until")

    def __init__(
        self, sessions: SpareOwner, spares: Spares, connection: Connection, others: int, *, follows_close: bool
    ) -> None:
        """`others`: the number of other sessions that the host may count when it opens this one.

        `follows_close`: whether the host may read the close of one of them in the same turn.
        """
        self.others = others
        self.follows_close = follows_close
        self.until = math.inf
        """When it expires, in seconds of the loop's clock. The lifetime begins when the session is open."""
        self._sessions = sessions
        self._spares = spares
        self._channel: Channel = connection.open_channel(self)

    def pass_to(self, command: Receiver) -> Channel:
        """Return the channel; from now on `command` receives its events."""
        self._spares.discard(self)
        self._channel.set_receiver(command)
        return self._channel

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
        self._loop = asyncio.get_running_loop()
        self._open: dict[Spare, None] = {}
        """The earliest to expire comes first."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, spare: Spare) -> None:
        """Start the lifetime of `spare`."""
        spare.until = self._loop.time() + _SPARE_LIFETIME
        self._open[spare] = None
        if self._timer is None:
            self._timer = self._loop.call_at(spare.until, self._expire)

    def discard(self, spare: Spare) -> None:
        """Forget `spare`, if it is known."""
        self._open.pop(spare, None)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self._timer = None
        while self._open:
            spare = next(iter(self._open))
            if spare.until > self._loop.time():
                self._timer = self._loop.call_at(spare.until, self._expire)
                return
            spare.expire()
