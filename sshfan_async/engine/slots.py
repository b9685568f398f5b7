"""Limit how many targets of a run are in flight at once: by the fanout, and by the limit on open files."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import anyio

from sshfan_async.process.descriptors import BUDGET

if TYPE_CHECKING:
    from sshfan_async.engine.run import Run
    from sshfan_async.engine.run_log import RunLog

__all__ = ["Slots"]


class SharedLimiter(Protocol):
    """The methods of `anyio.CapacityLimiter` that are used here."""

    @property
    def total_tokens(self) -> float: ...

    async def acquire_on_behalf_of(self, borrower: object) -> None: ...

    def release_on_behalf_of(self, borrower: object) -> None: ...


class Slots:
    """The slots of one run, one for each target in flight: a token of the fanout, and the descriptors of a child."""

    def __init__(self, run: Run, descriptors: int, limiter: SharedLimiter | None, run_log: RunLog) -> None:
        """`descriptors`: descriptors of this process for each child. `limiter` replaces the run's own limiter."""
        self.descriptors = descriptors
        self._room = BUDGET.room()
        hosts = len(run.targets)
        wanted = run.limits.fanout if limiter is None else limiter
        self.most: int
        """The maximum number of targets in flight at once."""
        if not isinstance(wanted, int) and wanted is not None:
            self._limiter: SharedLimiter = wanted
            self.most = int(min(hosts, wanted.total_tokens))
        else:
            fanout = hosts if wanted is None else min(wanted, hosts)
            possible = max(1, self._room // descriptors)
            if possible < fanout:
                run_log.fanout_lowered(fanout, possible)
            self.most = max(1, min(fanout, possible))
            self._limiter = _Fanout(self.most)
        run_log.run_started(hosts, self.most)

    async def acquire(self, owner: object) -> None:
        """Wait for a slot."""
        await self._enter(owner)
        try:
            await BUDGET.lease(self.descriptors, self._room)
        except BaseException:
            self._limiter.release_on_behalf_of(owner)
            raise

    async def _enter(self, owner: object) -> None:
        # Only for a limiter of the caller: anyio imports `CapacityLimiter` when it is named, which takes 9 ms.
        if not isinstance(self._limiter, _Fanout) and isinstance(self._limiter, anyio.CapacityLimiter):
            # Even without a wait, the async call costs a cancel scope and a turn of the loop: 3 % of a child.
            with suppress(anyio.WouldBlock):
                self._limiter.acquire_on_behalf_of_nowait(owner)
                return
        await self._limiter.acquire_on_behalf_of(owner)

    def release(self, owner: object) -> None:
        """Free the slot of `owner`."""
        BUDGET.release(self.descriptors)
        self._limiter.release_on_behalf_of(owner)


class _Fanout:
    """The limiter of a run that brings none. anyio's would cost every start the import of its asyncio backend."""

    def __init__(self, tokens: int) -> None:
        self.total_tokens: float = tokens
        self._free = asyncio.Semaphore(tokens)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._free.acquire()

    def release_on_behalf_of(self, borrower: object) -> None:
        self._free.release()
