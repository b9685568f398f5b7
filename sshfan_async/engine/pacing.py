"""Limit connections at once to a server or jump host that has dropped one, and delay retries.

sshd drops unauthenticated connections at random above a number (sshd_config(5): MaxStartups, 10:30:100 by default).
From 9.8 on, it blocks a source address that fails often (PerSourcePenalties). A retry at the same rate is dropped
again. So a peer that has dropped a connection gets few at a time, and more as they succeed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from operator import itemgetter

__all__ = ["Pacer", "Passage", "back_off"]

_PACED = 4.0
"""Connections at once to a peer that has dropped one: well below 10, sshd's default threshold."""

_MOST_SEEN = 64
"""Peers whose connections are counted. Each peer that has more than one in 65 of all connections is among them."""

_BACK_OFF = 0.5
"""Seconds before the second attempt, doubled for each further attempt, times a random factor from 1 to 2."""


def back_off(attempts: int) -> float:
    """Return the seconds to wait after `attempts` failed attempts. The random factor spreads the hosts."""
    seconds: float = _BACK_OFF * 2 ** (attempts - 1)
    return seconds * random.uniform(1, 2)


class Passage:
    """One attempt, from its launch until the command is sent. `peer` is a guess until ssh's log names it."""

    __slots__ = ("_identified", "_pacer", "peer")

    def __init__(self, pacer: Pacer, peer: str | None) -> None:
        self._pacer: Pacer | None = pacer
        self._identified = False
        self.peer = peer

    def identify(self, peer: str) -> None:
        """Note the peer that the attempt connects to: an address, or a jump host."""
        if self._pacer is not None and not self._identified:
            self._identified = True
            self._pacer._identify(self.peer, peer)
            self.peer = peer

    def succeed(self) -> bool:
        """Note that the command was sent: the attempt no longer counts. Return False if that is not new."""
        return self._end(succeeded=True, dropped=False)

    def end(self, *, dropped: bool) -> None:
        """Note the end of the attempt. `dropped`: the peer closed the connection before the command was sent."""
        self._end(succeeded=False, dropped=dropped)

    def _end(self, *, succeeded: bool, dropped: bool) -> bool:
        pacer, self._pacer = self._pacer, None
        if pacer is None:
            return False
        if self.peer is not None:
            pacer._end_passage(self.peer, succeeded=succeeded, dropped=dropped)
        return True


class Pacer:
    """The passages of one run, counted by peer."""

    def __init__(self) -> None:
        self._connecting: Counter[str] = Counter()
        """Without the peers that have none: a run can have as many peers as hosts."""
        self._seen: Counter[str] = Counter()
        self._seen_in_all = 0
        self._limits: dict[str, float] = {}
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}

    async def enter(self, peer: str | None) -> Passage:
        """Wait until a connection to `peer` (None: not known yet) may begin.

        For an unknown peer, assume the one that most targets of the run have connected to so far, if it is paced. So
        all targets behind one bastion wait, but one server that drops connections does not delay the other servers.
        """
        expected = self._usual() if peer is None else peer
        if expected is None:
            return Passage(self, None)
        if not self._is_full(expected):
            self._connecting[expected] += 1
            return Passage(self, expected)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(expected, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end_passage(expected, succeeded=False, dropped=False)
            raise
        return Passage(self, expected)

    def _usual(self) -> str | None:
        if not self._limits:
            return None
        peer, count = max(self._seen.items(), key=itemgetter(1), default=("", 0))
        usual = count >= 2 and 2 * count >= self._seen_in_all
        return peer if usual and peer in self._limits else None

    def _is_full(self, peer: str) -> bool:
        limit = self._limits.get(peer)
        return limit is not None and self._connecting[peer] >= int(limit)

    def _identify(self, expected: str | None, peer: str) -> None:
        self._count(peer)
        if peer != expected:
            self._connecting[peer] += 1
            if expected is not None:
                self._end_passage(expected, succeeded=False, dropped=False)

    def _count(self, peer: str) -> None:
        """Count a connection to `peer`. If too many peers are counted, count one less for each of them.

        That is the algorithm of Misra and Gries: a count is too low by one in 65 of all connections at most.
        """
        self._seen_in_all += 1
        self._seen[peer] += 1
        if len(self._seen) > _MOST_SEEN:
            self._seen = Counter({each: count - 1 for each, count in self._seen.items() if count > 1})

    def _end_passage(self, peer: str, *, succeeded: bool, dropped: bool) -> None:
        self._connecting[peer] -= 1
        if self._connecting[peer] == 0:
            del self._connecting[peer]
        limit = self._limits.get(peer)
        if dropped:
            self._limits[peer] = _PACED if limit is None else max(1.0, min(_PACED, limit / 2))
        elif succeeded and limit is not None:
            self._limits[peer] = limit + 1 / limit
        self._wake(peer)

    def _wake(self, peer: str) -> None:
        waiters = self._waiters.get(peer)
        while waiters and not self._is_full(peer):
            turn = waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                self._connecting[peer] += 1
