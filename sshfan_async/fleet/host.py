"""One host of a fleet: open its connection, watch it, and replace it when needed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshfan_async.engine.ended import Ended
from sshfan_async.engine.pacing import back_off
from sshfan_async.fleet.master import Master
from sshfan_async.fleet.sessions import Queue, Sessions
from sshfan_async.outcome import Phase, Phases, Status
from sshfan_async.process.descriptors import BUDGET
from sshfan_async.sshlog.verdict import Verdict

if TYPE_CHECKING:
    from sshfan_async.engine.pacing import Passage
    from sshfan_async.event import Stream
    from sshfan_async.fleet.context import FleetContext
    from sshfan_async.outcome import Outcome
    from sshfan_async.sshlog.log import SshLog
    from sshfan_async.targets import Target

__all__ = ["DESCRIPTORS", "FleetHost"]

DESCRIPTORS = 6
"""File descriptors of this process for each connection: those of its child, and the control socket."""

_COOL_DOWN = 1.0
"""Seconds before a host that could not be reached is tried again, doubled after each further failure.

During that time its commands fail at once; otherwise every run would wait for it.
"""
_LONGEST_COOL_DOWN = 30.0

_CLOSED = "the fleet was closed"


@dataclass(slots=True, eq=False)
class Held:
    """A connection to the host, from its login to the end of its master."""

    master: Master
    sessions: Sessions
    retire_reason: str = ""
    """Why the connection gets no further command; empty if it does."""
    age_timer: asyncio.TimerHandle | None = None


class FleetHost:
    """Connects on `connect()` or on first use, and reconnects after a loss.

    A command waits for one series of attempts at most. A command that was sent is never sent again. A connection that
    is replaced gets no further command; it lives until those that run on it have ended, beside the next connection.
    """

    def __init__(self, context: FleetContext, target: Target, name: str) -> None:
        settings = context.settings
        self.target = target
        self.name = name
        self.takes_signals = False
        """Whether the host is known to signal a command on request."""
        self.timers = context.timers
        self.queue = Queue(self, context.spares, settings.sessions, settings.clocks.connect_timeout)
        self._context = context
        self._enqueued_at = 0.0
        self._ended = _not_connected("not connected yet")
        self._attempts = 0
        self._task: asyncio.Task[None] | None = None
        """The task that connects, or that holds the connection which gets the commands."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: Held | None = None
        """The connection that gets the commands."""
        self._open: set[Held] = set()
        self._latest: Held | None = None
        """The connection whose end changes the state of the host: none while the next one is being made."""
        self._cool_down = _COOL_DOWN
        self._cool_until = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closed = False

    def outcome(self) -> Outcome:
        """Return the state of the connection in the form of an outcome: `ok` if it is open."""
        return self._ended.outcome(self.target, self.name, self._attempts)

    # what the queue and the sessions need

    @property
    def is_connecting(self) -> bool:
        """Whether a connection is being made."""
        return self._task is not None and self._held is None

    def busy(self) -> None:
        """Stop the idle timer."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def connect_for_waiting(self) -> None:
        """Connect, or fail the queued commands if the host cools down or is closed.

        If the limit on connections is reached, the end of one that is being replaced connects.
        """
        if self._task is None and (self._closed or time.monotonic() < self._cool_until):
            self.queue.fail_waiting(self._ended.verdict, self._ended.clock)
        elif self._task is None and (not self._tasks or self._context.connections < self._context.most):
            self.connect()

    def free(self) -> None:
        """Start the idle timer."""
        idle_timeout, held = self._context.settings.idle_timeout, self._held
        if idle_timeout is not None and held is not None:
            why = f"closed after {idle_timeout:g} s without a command"
            self._idle_timer = asyncio.get_running_loop().call_later(idle_timeout, self.replace, held.sessions, why)

    def replace(self, sessions: Sessions, why: str) -> None:
        """Give that connection no further command, and close it when the last one has ended."""
        held = self._held
        if held is not None and held.sessions is sessions:
            held.retire_reason = why
            self._held = self._task = None
            self.busy()
            self.queue.detach(sessions)
            if sessions.are_free:
                held.master.retire()

    def unused(self, sessions: Sessions) -> None:
        """Close that connection, which is being replaced."""
        for held in self._open:
            if held.sessions is sessions:
                held.master.retire()

    # the connection

    def connect(self) -> asyncio.Future[None]:
        """Begin to connect; return a future that is done when that has succeeded or failed."""
        loop = asyncio.get_running_loop()
        self._enqueued_at, self._latest = time.monotonic(), None
        concluded = loop.create_future()
        task = loop.create_task(self._run_connection(concluded), name=f"sshfan connection to {self.target}")
        self._task = task
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._task_ended(task, concluded))
        return concluded

    def stop_connecting(self) -> None:
        """Cancel an attempt under way, and begin no further one."""
        self._closed = True
        if self._task is not None and self._held is None:
            self._task.cancel()

    async def close(self) -> None:
        """End the connections, or the attempt to connect; return when each ssh is reaped."""
        self.stop_connecting()
        for held in self._open:
            held.retire_reason = _CLOSED
            held.master.retire()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.queue.close()

    def _task_ended(self, task: asyncio.Task[None], concluded: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if task is self._task:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._give_up(_failed(Status.LOCAL, f"internal error: {type(error).__name__}: {error}"))
        if not concluded.done():
            concluded.set_result(None)
        if self.queue.waiting:
            self.queue.pump()

    async def _run_connection(self, concluded: asyncio.Future[None]) -> None:
        context = self._context
        if context.connections >= context.most:
            why = "the limit on open files (ulimit -n) allows no further connection"
            self._give_up(_failed(Status.LOCAL, why))
            return
        context.connections += 1
        try:
            await BUDGET.lease(DESCRIPTORS, BUDGET.room())
            try:
                await self._connect_and_hold(concluded)
            finally:
                BUDGET.release(DESCRIPTORS)
        except asyncio.CancelledError:
            self._ended = _not_connected(_CLOSED)
            self.queue.fail_waiting(self._ended.verdict, self._ended.clock)
            raise
        finally:
            context.connections -= 1

    async def _connect_and_hold(self, concluded: asyncio.Future[None]) -> None:
        """Connect, give the connection to the queue, and wait until it is lost."""
        master = await self._connect()
        if master is not None:
            try:
                await self._hold(master, concluded)
            finally:
                await master.end()

    async def _hold(self, master: Master, concluded: asyncio.Future[None]) -> None:
        max_age = self._context.settings.max_age
        held = self._held = self._latest = Held(master, Sessions(self.queue, master.connection))
        self._open.add(held)
        self.takes_signals = master.ssh_log.takes_signals()
        self._cool_down = _COOL_DOWN
        if max_age is not None:
            why = f"closed after {max_age:g} s (max_age)"
            held.age_timer = asyncio.get_running_loop().call_later(max_age, self.replace, held.sessions, why)
        concluded.set_result(None)
        self.queue.attach(held.sessions)
        reason = _CLOSED
        try:
            reason = await master.lost()
        finally:
            self._disconnected(held, reason)

    def _disconnected(self, held: Held, reason: str) -> None:
        self._open.discard(held)
        if held is self._held:
            self._held = None
            self.busy()
        if held.age_timer is not None:
            held.age_timer.cancel()
        self.queue.detach(held.sessions)
        held.sessions.close()
        if held is self._latest:
            self._note_end(held, reason)
        held.master.connection.abandon(reason)

    def _note_end(self, held: Held, reason: str) -> None:
        if held.retire_reason:
            again = "" if self._closed else ": the next command connects again"
            self._ended = _not_connected(f"{held.retire_reason}{again}")
        else:
            verdict = Verdict(status=Status.DROPPED, sent=False, phase=Phase.RUN, reason=f"connection lost: {reason}")
            self._ended = self._ended._replace(verdict=verdict)
            self._context.run_log.host_finished(self.outcome())

    async def _connect(self) -> Master | None:
        context, retries, peer = self._context, self._context.settings.retries, None
        self._attempts = 0
        while True:
            async with context.slots:
                passage = await context.pacer.enter(peer)
                self._attempts += 1
                context.run_log.host_started(self.target, self._attempts)
                master, dropped = Master(context, self.target, Login(passage)), False
                try:
                    self._ended = await master.connect(self._enqueued_at)
                    peer, verdict = self._ended.peer, self._ended.verdict
                    dropped = verdict.by_peer and peer is not None
                finally:
                    passage.end(dropped=dropped)
            if verdict.status is Status.OK:
                context.run_log.host_finished(self.outcome())
                return master
            if not verdict.transient or self._attempts > retries:
                self._give_up(self._ended)
                return None
            seconds = back_off(self._attempts)
            context.run_log.host_retried(self.target, self._attempts, verdict.reason, seconds)
            await asyncio.sleep(seconds)

    def _give_up(self, ended: Ended) -> None:
        self._ended = ended
        self._cool_until = time.monotonic() + self._cool_down
        self._cool_down = min(2 * self._cool_down, _LONGEST_COOL_DOWN)
        self._context.run_log.host_finished(self.outcome())
        self.queue.fail_waiting(self._ended.verdict, self._ended.clock)


class Login:
    """Passes the progress of one attempt to connect on to the pacer."""

    follows = True

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    def progressed(self, ssh_log: SshLog) -> None:
        """React to new lines in the master's log: note the peer and the login."""
        if ssh_log.peer is not None:
            self._passage.identify(ssh_log.peer)
        if ssh_log.authenticated:
            self._passage.succeed()

    def wrote(self, stream: Stream, data: bytes) -> None:
        """Ignore output: a master runs no command."""


def _not_connected(reason: str) -> Ended:
    return _failed(Status.NOT_RUN, reason)


def _failed(status: Status, reason: str) -> Ended:
    return Ended(verdict=Verdict(status=status, sent=False, phase=Phase.QUEUED, reason=reason), phases=Phases())
