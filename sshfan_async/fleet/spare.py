"""A session that is opened ahead of its command, which then takes one round trip in place of two."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sshfan_async.events import Stream
    from sshfan_async.fleet.command import HostCommand
    from sshfan_async.fleet.link import Link
    from sshfan_async.mux import Channel, Connection

__all__ = ["Spare", "Spares"]

_FRESH = 2.0
"""Seconds for which a spare session is good, from the host's word that it is open.

Later the connection may have died in silence, and what has been sent is never sent again: so the next command opens
its own session, and is sent on the host's answer. Nor shall an idle host keep a session open for nobody.
"""


class Spare:
    """The receiver of a channel until a command takes it, or its time is over."""

    __slots__ = ("_channel", "_link", "_spares", "beside")

    def __init__(self, link: Link, spares: Spares, connection: Connection, beside: int) -> None:
        """`beside`: the sessions of ours that the host may count besides, at most."""
        self.beside = beside
        self._link = link
        self._spares = spares
        self._channel: Channel = connection.open_channel(self)

    def hand_to(self, command: HostCommand) -> Channel:
        """Return the channel, of which `command` is told everything from now on."""
        self._spares.discard(self)
        self._channel.hand_to(command)
        return self._channel

    def is_over(self) -> bool:
        """Whether its time is over: in a loop that was blocked, a command can come before our timer."""
        return self._spares.is_over(self)

    def expire(self) -> None:
        """Close it unused."""
        self._spares.discard(self)
        self._channel.close()
        self._link.spare_gone(self)

    # what the channel tells

    def opened(self) -> None:
        """It is ready."""
        self._spares.add(self)
        self._link.answered()

    def refused(self, reason: str) -> None:
        """The host has no session to spare."""
        self._link.spare_refused(self)

    def answered(self, request: str, *, accepted: bool) -> None:
        """Nothing is asked."""

    def closed(self) -> None:
        """It is gone: at our word, or at the host's, which may close what nobody uses."""
        self._spares.discard(self)
        self._link.spare_gone(self)

    def lost(self, reason: str) -> None:
        """It is gone with the connection."""
        self._spares.discard(self)

    def output(self, stream: Stream, data: bytes) -> None:
        """Nothing runs that could write."""

    def writable(self) -> None:
        """Nothing is written."""

    def exited(self, code: int) -> None:
        """Nothing runs that could exit."""

    def signalled(self, name: str) -> None:
        """Nothing runs that could be signalled."""


class Spares:
    """The open spare sessions of a fleet. One timer serves all: a timer each would be most of what they cost."""

    def __init__(self) -> None:
        self._until: dict[Spare, float] = {}
        """The loop's time at which each expires, the earliest first."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, spare: Spare) -> None:
        """Let `spare` expire in a while."""
        loop = asyncio.get_running_loop()
        self._until[spare] = loop.time() + _FRESH
        if self._timer is None:
            self._timer = loop.call_later(_FRESH, self._expire)

    def is_over(self, spare: Spare) -> bool:
        """Whether the time of `spare` is over; not before it is open."""
        return self._until.get(spare, math.inf) <= asyncio.get_running_loop().time()

    def discard(self, spare: Spare) -> None:
        """Forget `spare`, if it is known."""
        self._until.pop(spare, None)

    def close(self) -> None:
        """Let none expire any more."""
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
