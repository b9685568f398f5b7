"""Decide which hosts may start, from the outcomes so far: `-k`, `--max-failures` and `--batch`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import anyio

from sshfan_async.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sshfan_async.cli.arguments.share import Share
    from sshfan_async.outcome import Outcome

__all__ = ["Rollout", "Rules"]


class Rules(NamedTuple):
    """The options about failures and batches."""

    fail_fast: bool = False
    max_failures: Share | None = None
    batches: tuple[Share, ...] | None = None


class Stoppable(Protocol):
    """The methods of a supervisor that `Rollout` calls."""

    def stop(self) -> None: ...

    def drain(self) -> None: ...


class Rollout:
    """Applies the rules to one run, in the loop of that run."""

    def __init__(self, rules: Rules, total: int, fanout: int) -> None:
        self.ended_by: Literal["-k", "--max-failures"] | None = None
        """The rule that ended the run early."""
        self.limiter = None if rules.batches is None else _BatchLimiter(fanout)
        """Replaces the fanout if there are batches: it admits the hosts of one batch at a time."""
        self._rules = rules
        self._batch_sizes = _sizes(rules.batches, total)
        self._batch_size = 0
        self._unfinished = 0
        self._failures = 0
        self._begin_batch()

    def note(self, outcome: Outcome, supervisor: Stoppable) -> None:
        """Count the outcome of a host, and stop or drain the run if a rule says so."""
        if outcome.status is Status.NOT_RUN or self.ended_by is not None:
            return
        self._unfinished -= 1
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
        if self._unfinished == 0:
            self._begin_batch()

    def _allowed(self) -> float:
        if self._rules.max_failures is None:
            return float("inf") if self._rules.batches is None else 0
        return self._rules.max_failures.of(self._batch_size)

    def _begin_batch(self) -> None:
        size = next(self._batch_sizes, 0)
        if size > 0:
            self._batch_size = self._unfinished = size
            self._failures = 0
            if self.limiter is not None:
                self.limiter.admit(size)


def _sizes(batches: tuple[Share, ...] | None, total: int) -> Iterator[int]:
    """Yield the size of each batch, for `total` hosts in all. The last size is repeated."""
    left, number = total, 0
    shares = batches or ()
    while left > 0:
        share = shares[min(number, len(shares) - 1)] if shares else None
        size = left if share is None else min(left, max(1, share.of(total)))
        yield size
        left -= size
        number += 1


class _BatchLimiter:
    """A fanout limiter that admits new hosts batch by batch. An admitted host may come back for a retry."""

    def __init__(self, fanout: int) -> None:
        self._fanout = anyio.CapacityLimiter(fanout)
        self._admitted: set[object] = set()
        self._quota = 0
        self._batch_started = asyncio.Event()

    @property
    def total_tokens(self) -> float:
        return self._fanout.total_tokens

    def admit(self, count: int) -> None:
        """Admit `count` more hosts."""
        self._quota += count
        self._batch_started.set()
        self._batch_started = asyncio.Event()

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        while borrower not in self._admitted:
            if len(self._admitted) < self._quota:
                self._admitted.add(borrower)
            else:
                await self._batch_started.wait()
        await self._fanout.acquire_on_behalf_of(borrower)

    def release_on_behalf_of(self, borrower: object) -> None:
        self._fanout.release_on_behalf_of(borrower)
