"""How many connections at once to a server or jump host that has dropped one of ours.

sshd drops unauthenticated connections at random from a number on (sshd_config(5): MaxStartups, 10:30:100 by default)
and from 9.8 on shuts out a source that fails often (PerSourcePenalties). Trying again at the same rate is dropped
again, so a peer that drops us gets few connections at a time, and more again as they succeed.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

__all__ = ["Pacer", "Passage"]

_PACED = 4.0
"""Connections at once to a peer that has dropped one: well below the 10 from which sshd drops by default."""


class Passage:
    """One attempt on its way from launch to a sent command; `peer` is sure once ssh's log names it."""

    __slots__ = ("_identified", "_pacer", "peer")

    def __init__(self, pacer: Pacer, peer: str | None) -> None:
        self._pacer: Pacer | None = pacer
        self._identified = False
        self.peer = peer

    def identify(self, peer: str) -> None:
        """Tell whom the attempt connects to: an address, or the way through a jump host."""
        if self._pacer is not None and not self._identified:
            self._identified = True
            self._pacer._identify(self.peer, peer)
            self.peer = peer

    def succeed(self) -> bool:
        """The command was sent: the connection stands, and no longer counts. False where that was told before."""
        return self._end(succeeded=True, dropped=False)

    def end(self, *, dropped: bool) -> None:
        """The attempt has ended; `dropped`: by the peer, before the command was sent."""
        self._end(succeeded=False, dropped=dropped)

    def _end(self, *, succeeded: bool, dropped: bool) -> bool:
        pacer, self._pacer = self._pacer, None
        if pacer is None:
            return False
        if self.peer is not None:
            pacer._left(self.peer, succeeded=succeeded, dropped=dropped)
        return True


class Pacer:
    """The passages of one run, by peer."""

    def __init__(self) -> None:
        self._connecting: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._limits: dict[str, float] = {}
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}

    async def enter(self, peer: str | None) -> Passage:
        """Wait for a place on the way to `peer`, None where it is not known yet.

        A target whose peer is unknown waits for the one that most of the run's targets so far have shared, if that
        one is paced: behind one bastion, all are held back; among many servers, one that drops us holds back nobody.
        """
        expected = self._usual() if peer is None else peer
        if expected is None:
            return Passage(self, None)
        if not self._is_full(expected):
            self._connecting[expected] += 1
            return Passage(self, expected)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(expected, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._left(expected, succeeded=False, dropped=False)
            raise
        return Passage(self, expected)

    def _usual(self) -> str | None:
        if not self._limits:
            return None
        peer, count = self._seen.most_common(1)[0]
        usual = count >= 2 and 2 * count >= self._seen.total()
        return peer if usual and peer in self._limits else None

    def _is_full(self, peer: str) -> bool:
        limit = self._limits.get(peer)
        return limit is not None and self._connecting[peer] >= int(limit)

    def _identify(self, expected: str | None, peer: str) -> None:
        self._seen[peer] += 1
        if peer != expected:
            self._connecting[peer] += 1
            if expected is not None:
                self._left(expected, succeeded=False, dropped=False)

    def _left(self, peer: str, *, succeeded: bool, dropped: bool) -> None:
        self._connecting[peer] -= 1
        limit = self._limits.get(peer)
        if dropped:
            self._limits[peer] = _PACED if limit is None else max(1.0, min(_PACED, limit / 2))
        elif succeeded and limit is not None:
            self._limits[peer] = limit + 1 / limit
        self._wake(peer)

    def _wake(self, peer: str) -> None:
        waiters = self._waiters.get(peer)
        while waiters and not self._is_full(peer):
            place = waiters.popleft()
            if not place.done():
                place.set_result(None)
                self._connecting[peer] += 1
