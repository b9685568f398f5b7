"""Who may start, given how the others ended: `-k`, `--max-failures` and `--batch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import anyio

from sshfan_async.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sshfan_async.cli.arguments.share import Share
    from sshfan_async.outcome import Outcome

__all__ = ["Rollout", "Rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the command line says about failures and batches."""

    fail_fast: bool = False
    max_failures: Share | None = None
    batches: tuple[Share, ...] | None = None


class Stoppable(Protocol):
    """What is used of a supervisor."""

    def stop(self) -> None: ...

    def drain(self) -> None: ...


class Rollout:
    """The rules at work, in the loop of one run; `ended_by` names the rule that ended it early."""

    def __init__(self, rules: Rules, total: int, fanout: int) -> None:
        self.ended_by: Literal["-k", "--max-failures"] | None = None
        self.limiter = None if rules.batches is None else _Turnstile(fanout)
        """What lets the hosts of one batch pass, in place of the plain fanout."""
        self._rules = rules
        self._sizes = _sizes(rules.batches, total)
        self._size = 0
        self._left = 0
        self._failures = 0
        self._begin_batch()

    def note(self, outcome: Outcome, supervisor: Stoppable) -> None:
        """Take in that a host has ended."""
        if outcome.status is Status.NOT_RUN or self.ended_by is not None:
            return
        self._left -= 1
        if not outcome.ok:
            self._failures += 1
            if self._rules.fail_fast:
                self.ended_by = "-k"
                supervisor.stop()
                return
            if self._failures > self._allowed():
                self.ended_by = "--max-failures"
                supervisor.drain()
                return
        if self._left == 0:
            self._begin_batch()

    def _allowed(self) -> float:
        if self._rules.max_failures is None:
            return float("inf") if self._rules.batches is None else 0
        return self._rules.max_failures.of(self._size)

    def _begin_batch(self) -> None:
        size = next(self._sizes, 0)
        if size > 0:
            self._size = self._left = size
            self._failures = 0
            if self.limiter is not None:
                self.limiter.let_in(size)


def _sizes(batches: tuple[Share, ...] | None, total: int) -> Iterator[int]:
    """Yield the size of each batch until all of `total` hosts are in one; the last size given is repeated."""
    left, number = total, 0
    shares = batches or ()
    while left > 0:
        share = shares[min(number, len(shares) - 1)] if shares else None
        size = left if share is None else min(left, max(1, share.of(total)))
        yield size
        left -= size
        number += 1


class _Turnstile:
    """A fanout that new hosts enter batch by batch; who was in already comes back in for another attempt."""

    def __init__(self, fanout: int) -> None:
        self._fanout = anyio.CapacityLimiter(fanout)
        self._inside: set[object] = set()
        self._places = 0
        self._opened = anyio.Event()

    @property
    def total_tokens(self) -> float:
        return self._fanout.total_tokens

    def let_in(self, count: int) -> None:
        self._places += count
        self._opened.set()
        self._opened = anyio.Event()

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        while borrower not in self._inside:
            if len(self._inside) < self._places:
                self._inside.add(borrower)
            else:
                await self._opened.wait()
        await self._fanout.acquire_on_behalf_of(borrower)

    def release_on_behalf_of(self, borrower: object) -> None:
        self._fanout.release_on_behalf_of(borrower)
