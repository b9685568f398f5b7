"""Run one target until it has its outcome: attempts, with back-off between them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sshfan_async.engine.attempt import Attempt
from sshfan_async.engine.ended import Ended, not_run
from sshfan_async.engine.pacing import back_off
from sshfan_async.event import HostOutput, HostPhase, HostStarted
from sshfan_async.loop.scope import CancelScope
from sshfan_async.outcome import Phase, Phases

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.engine.context import RunContext
    from sshfan_async.engine.pacing import Passage
    from sshfan_async.event import Stream
    from sshfan_async.outcome import Outcome
    from sshfan_async.sshlog.log import SshLog
    from sshfan_async.targets import Target

__all__ = ["Host"]


class Host:
    """One target of a run. Await `admitted`, then `run`, which calls `on_end` with the outcome exactly once."""

    __slots__ = (
        "_attempt",
        "_attempts",
        "_backing_off",
        "_context",
        "_enqueued_at",
        "_last",
        "_name",
        "_on_end",
        "_passage",
        "_phase",
        "_stopped",
        "_target",
    )

    def __init__(
        self,
        context: RunContext,
        target: Target,
        name: str,
        enqueued_at: float,
        on_end: Callable[[Host, Outcome], None],
    ) -> None:
        self._context = context
        self._target = target
        self._name = name
        self._enqueued_at = enqueued_at
        self._on_end = on_end
        self._attempts = 0
        self._attempt: Attempt | None = None
        self._last: Ended | None = None
        self._passage: Passage | None = None
        self._phase = Phase.QUEUED
        self._backing_off: CancelScope | None = None
        self._stopped = False

    async def admitted(self, peer: str | None = None) -> None:
        """Wait for a slot, then until the pacer admits a connection to `peer` (None: not known yet)."""
        await self._context.slots.acquire(self)
        try:
            self._passage = await self._context.pacer.enter(peer)
        except BaseException:
            self._context.slots.release(self)
            raise

    def stop(self) -> None:
        """End the attempt or the back-off under way, and start no further attempt."""
        self._stopped = True
        if self._attempt is not None:
            self._attempt.stop()
        if self._backing_off is not None:
            self._backing_off.cancel()

    async def run(self) -> None:
        """Launch attempts until one is final. Call it after `admitted`, which acquires the slot."""
        context = self._context
        try:
            while not self._stopped:
                context.emit(HostStarted(self._target, self._name, self._attempts + 1))
                context.run_log.host_started(self._target, self._attempts + 1)
                self._attempt = Attempt(context, self._enqueued_at, self)
                try:
                    ended = await self._attempt.run(self._target)
                except Exception as error:
                    ended = await self._attempt.broken(error)
                finally:
                    self._attempt = None
                if ended is None:
                    return
                self._last, verdict = ended, ended.verdict
                self._attempts += 1
                if not verdict.transient or self._attempts > context.run.limits.retries or self._stopped:
                    return
                self._free_slot(ended)
                seconds = back_off(self._attempts)
                context.run_log.host_retried(self._target, self._attempts, verdict.reason, seconds)
                if not await self._back_off(seconds, ended.peer):
                    return
        finally:
            self.conclude()

    def conclude(self) -> None:
        """Report the outcome, and free the slot."""
        last = self._last
        if last is None:
            last = Ended(verdict=not_run(None), phases=Phases(queued=time.monotonic() - self._enqueued_at))
        # Report first: if the outcome makes the caller drain the run, no further host may start.
        self._on_end(self, last.outcome(self._target, self._name, self._attempts))
        self._free_slot(last)

    def _free_slot(self, ended: Ended) -> None:
        if self._passage is not None:
            self._passage.end(dropped=ended.verdict.by_peer and ended.peer is not None)
            self._passage = None
            self._context.slots.release(self)

    @property
    def follows(self) -> bool:
        """Whether a consumer receives phases and output during the run."""
        return self._context.flow.followed

    def progressed(self, ssh_log: SshLog) -> None:
        """React to new lines in ssh's log."""
        assert self._passage is not None
        if ssh_log.peer is not None:
            self._passage.identify(ssh_log.peer)
        if ssh_log.sent_at is not None and self._passage.succeed():
            self._context.run_log.host_sent(self._target)
        if self.follows and ssh_log.phase() is not self._phase:
            self._phase = ssh_log.phase()
            self._context.emit(HostPhase(self._target, self._name, self._phase))

    def wrote(self, stream: Stream, data: bytes) -> None:
        """Emit output of the command."""
        self._context.emit(HostOutput(self._target, self._name, stream, data))

    async def _back_off(self, seconds: float, peer: str | None) -> bool:
        """Wait `seconds`, then for a new slot. Return False if the run ends first: the last attempt is final then."""
        with CancelScope(deadline=self._context.flow.deadline) as self._backing_off:
            await asyncio.sleep(seconds)
            await self.admitted(peer)
            self._backing_off = None
            return True
        self._backing_off = None
        return False
