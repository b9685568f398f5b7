"""One host of a fleet: its connection, the commands that run over it, and those that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from sshfan_async.attempt import Ended
from sshfan_async.descriptors import BUDGET
from sshfan_async.fleet.master import Master
from sshfan_async.fleet.spare import Spare
from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.sshlog import Ending

if TYPE_CHECKING:
    from sshfan_async.fleet.command import HostCommand
    from sshfan_async.fleet.engine import Equipment
    from sshfan_async.mux import Connection
    from sshfan_async.pacing import Passage
    from sshfan_async.sshlog import SshLog
    from sshfan_async.targets import Target

__all__ = ["DESCRIPTORS", "Link"]

DESCRIPTORS = 6
"""Descriptors of ours that a connection takes: those of its child, and the control socket."""

_BACK_OFF = 0.5
"""Seconds before the second attempt, doubled for each further one; as much again at random spreads the hosts."""
_REST = 1.0
_LONGEST_REST = 30.0
"""Seconds for which a host that could not be reached is not tried again, doubled from the first to the second: its
commands fail at once meanwhile, or every run would wait for it."""

_MOST_REFUSALS = 1000
"""After so many the connection is replaced: the master keeps each refused channel, and takes 10,000 (channels.c)."""

_CLOSED = "the fleet was closed"


class Link:
    """The connection is made by `connect`, or for the first command that finds none, and made anew after a loss.

    Commands never wait for a host longer than one series of attempts at it; what was sent is never sent again.
    """

    def __init__(self, equipment: Equipment, target: Target, name: str) -> None:
        self.target = target
        self.name = name
        self.takes_signals = False
        """Whether the host signals a command on request, as far as is known."""
        self._equipment = equipment
        self._enqueued_at = 0.0
        self._ended = _idle("not connected yet")
        self._attempts = 0
        self._waiting: deque[HostCommand] = deque()
        self._active = 0
        self._room = equipment.plan.sessions
        self._closing: deque[int] = deque()
        """For each close that the host may not have read, the number of questions asked before it."""
        self._opening: dict[HostCommand, int] = {}
        """Commands that wait for their session, and how many of ours the host may have counted besides, at most."""
        self._spare: Spare | None = None
        self._refusals = 0
        self._connection: Connection | None = None
        self._master: Master | None = None
        self._task: asyncio.Task[None] | None = None
        self._passage: Passage | None = None
        self._rest = _REST
        self._rests_until = 0.0
        self._leaving = ""
        self._idle: asyncio.TimerHandle | None = None
        self._age: asyncio.TimerHandle | None = None
        self._closed = False

    def outcome(self) -> Outcome:
        """How the connection stands, in the form of a target's outcome: `ok` where it does."""
        ended = self._ended
        return Outcome(
            target=self.target,
            host=self.name,
            status=ended.ending.status,
            phases=ended.phases,
            started_at=ended.started_at,
            attempts=self._attempts,
            sent=False,
            clock=ended.clock,
            phase=ended.ending.phase,
            remote="ended",
            reason=ended.ending.reason,
        )

    # commands

    def submit(self, command: HostCommand) -> None:
        """Run `command` as soon as there is a place for it."""
        self._waiting.append(command)
        self._pump()

    def withdraw(self, command: HostCommand) -> None:
        """Forget a command that has not begun, if it was submitted at all."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(command)

    def opened(self, command: HostCommand) -> None:
        """The host has opened a session for `command`."""
        del self._opening[command]
        self.answered()

    def answered(self) -> None:
        """The host has answered something, and so has read all that was sent before."""
        if self._waiting:
            self._pump()

    def leave(self) -> None:
        """A command's channel is gone: its place is free, as soon as the host knows."""
        self._active -= 1
        if self._connection is not None:
            self._closing.append(self._connection.asked)
            self._forget_closed(self._connection)
        self._pump()

    def refused(self, command: HostCommand, reason: str) -> None:
        """The host opened no session for `command`: it has as many as it takes (sshd_config(5): MaxSessions)."""
        self._active -= 1
        beside = self._opening.pop(command)
        self._note_refusal(beside)
        if beside > 0 and not command.has_ended:
            self._waiting.appendleft(command)
        else:
            reason = f"the host opens no session: {reason}"
            command.fail(Ending(status=Status.DROPPED, sent=False, phase=Phase.QUEUED, reason=reason))
        self._pump()

    def spare_refused(self, spare: Spare) -> None:
        """The host opened no session ahead of a command."""
        self._spare = None
        self._note_refusal(spare.beside)
        self.answered()

    def spare_gone(self, spare: Spare) -> None:
        """`spare` is closed, by us or by the host, unless a command has it."""
        if spare is self._spare:
            self._spare = None
            assert self._connection is not None
            self._closing.append(self._connection.asked)

    def _note_refusal(self, beside: int) -> None:
        if beside > 0:
            self._room = min(self._room, beside)
        self._refusals += 1
        if self._refusals >= _MOST_REFUSALS:
            self._leave_when_free("replaced after many refused sessions")

    def again(self, command: HostCommand) -> None:
        """The connection was lost before `command` was sent: it goes first over the next one."""
        self._waiting.appendleft(command)

    def _pump(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._connection is None or self._connection.is_lost or self._leaving:
            if self._waiting:
                self._want()
        else:
            while self._waiting and self._begin_next(self._connection):
                pass
        if self._active == 0 and self._connection is not None and (self._leaving or not self._waiting):
            self._rest_or_leave()

    def _begin_next(self, connection: Connection) -> bool:
        """Begin the command that has waited longest, if the host has a session for it; whether it has."""
        if self._spare is not None and self._spare.is_over():
            self._spare.expire()
        spare, self._spare = self._spare, None
        if spare is None and not self._has_room(connection):
            return False
        command = self._waiting.popleft()
        if spare is None:
            beside, channel = self._active + len(self._closing), connection.open_channel(command)
        else:
            beside, channel = spare.beside, spare.hand_to(command)
        if not channel.is_open:
            self._opening[command] = beside
        self._active += 1
        command.begin(channel)
        if not self._waiting:
            self._open_spare(connection)
        return True

    def _open_spare(self, connection: Connection) -> None:
        """Open a session for the next command, where the host takes one more than it may have now."""
        self._forget_closed(connection)
        beside = self._active + len(self._closing)
        if beside < self._room:
            self._spare = Spare(self, self._equipment.spares, connection, beside)

    def _has_room(self, connection: Connection) -> bool:
        """Whether the host has a session to spare.

        sshd frees a session only at the end of the turn in which it reads our close, and refuses a new one that it
        reads in the same turn (serverloop.c: server_loop2; channels.c: channel_garbage_collect). So a place is free
        once the host has answered something that was sent after the close; if need be we ask, and where no channel is
        open to ask on, the open is the question.
        """
        self._forget_closed(connection)
        if self._active + len(self._closing) < self._room or self._active == 0:
            return True
        if self._active < self._room and connection.asked <= self._closing[-1]:
            return not connection.ask()
        return False

    def _forget_closed(self, connection: Connection) -> None:
        while self._closing and self._closing[0] < connection.answered:
            self._closing.popleft()

    def _want(self) -> None:
        if self._task is None and (self._closed or time.monotonic() < self._rests_until):
            self._fail_waiting()
        elif self._task is None:
            self.connect()

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for command in waiting:
            command.fail(self._ended.ending, self._ended.clock)

    # the connection

    def connect(self) -> asyncio.Future[None]:
        """Begin to connect; return what is done when that has succeeded or failed."""
        loop = asyncio.get_running_loop()
        self._enqueued_at = time.monotonic()
        concluded = loop.create_future()
        self._task = loop.create_task(self._live(concluded), name=f"sshfan connection to {self.target}")
        self._task.add_done_callback(lambda task: self._over(task, concluded))
        return concluded

    def stop_connecting(self) -> None:
        """Give up an attempt under way, and begin none."""
        self._closed = True
        if self._task is not None and self._connection is None:
            self._task.cancel()

    async def close(self) -> None:
        """End the connection, or the attempt at it; return when ssh is reaped."""
        self.stop_connecting()
        self._retire(_CLOSED)
        if self._task is not None:
            await asyncio.wait([self._task])

    def _over(self, task: asyncio.Task[None], concluded: asyncio.Future[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._give_up(_failed(Status.LOCAL, f"internal error: {type(error).__name__}: {error}"))
        if not concluded.done():
            concluded.set_result(None)
        if self._waiting:
            self._want()

    async def _live(self, concluded: asyncio.Future[None]) -> None:
        equipment = self._equipment
        if equipment.connections >= equipment.most:
            why = "the limit on open files (ulimit -n) leaves room for no further connection"
            self._give_up(_failed(Status.LOCAL, why))
            return
        equipment.connections += 1
        try:
            await BUDGET.lease(DESCRIPTORS, BUDGET.room())
            try:
                await self._connect_and_stay(concluded)
            finally:
                BUDGET.release(DESCRIPTORS)
        except asyncio.CancelledError:
            self._ended = _idle(_CLOSED)
            self._fail_waiting()
            raise
        finally:
            equipment.connections -= 1

    async def _connect_and_stay(self, concluded: asyncio.Future[None]) -> None:
        master = await self._connect()
        if master is None:
            return
        loop, plan = asyncio.get_running_loop(), self._equipment.plan
        self._master, self._connection = master, master.connection
        self.takes_signals = master.log.takes_signals()
        self._rest, self._room, self._leaving = _REST, plan.sessions, ""
        self._refusals = 0
        if plan.max_age is not None:
            self._age = loop.call_later(
                plan.max_age, self._leave_when_free, f"closed at the age of {plan.max_age:g} s"
            )
        concluded.set_result(None)
        self._pump()
        if self._active == 0:
            self._open_spare(master.connection)
        reason = _CLOSED
        try:
            reason = await master.lost()
        finally:
            self._disconnected(master.connection, reason)

    def _disconnected(self, connection: Connection, reason: str) -> None:
        self._connection = self._master = None
        for timer in (self._idle, self._age):
            if timer is not None:
                timer.cancel()
        self._idle = self._age = None
        self._spare = None
        self._closing.clear()
        self._opening.clear()
        if self._leaving:
            again = "" if self._closed else ": the next command connects again"
            self._ended = _idle(f"{self._leaving}{again}")
        else:
            ending = Ending(status=Status.DROPPED, sent=False, phase=Phase.RUN, reason=f"connection lost: {reason}")
            self._ended = replace(self._ended, ending=ending)
            self._equipment.log.host_finished(self.outcome())
        connection.abandon(reason)

    async def _connect(self) -> Master | None:
        equipment, retries, peer = self._equipment, self._equipment.plan.retries, None
        self._attempts = 0
        while True:
            async with equipment.places:
                self._passage = await equipment.pacer.enter(peer)
                self._attempts += 1
                equipment.log.host_started(self.target, self._attempts)
                master, dropped = Master(equipment, self.target, self), False
                try:
                    self._ended = await master.connect(self._enqueued_at)
                    peer, ending = self._ended.peer, self._ended.ending
                    dropped = ending.transient and peer is not None
                finally:
                    self._passage.end(dropped=dropped)
            if ending.status is Status.OK:
                equipment.log.host_finished(self.outcome())
                return master
            if not ending.transient or self._attempts > retries:
                self._give_up(self._ended)
                return None
            back_off = _BACK_OFF * 2 ** (self._attempts - 1) * random.uniform(1, 2)
            equipment.log.host_retried(self.target, self._attempts, ending.reason, back_off)
            await asyncio.sleep(back_off)

    def progressed(self, log: SshLog) -> None:
        """Ssh's log has moved on."""
        assert self._passage is not None
        if log.peer is not None:
            self._passage.identify(log.peer)
        if log.authenticated:
            self._passage.succeed()

    def _give_up(self, ended: Ended) -> None:
        self._ended = ended
        self._rests_until = time.monotonic() + self._rest
        self._rest = min(2 * self._rest, _LONGEST_REST)
        self._equipment.log.host_finished(self.outcome())
        self._fail_waiting()

    def _rest_or_leave(self) -> None:
        patience = self._equipment.plan.idle_timeout
        if self._leaving:
            self._retire(self._leaving)
        elif patience is not None:
            why = f"closed after {patience:g} s without a command"
            self._idle = asyncio.get_running_loop().call_later(patience, self._retire, why)

    def _leave_when_free(self, why: str) -> None:
        self._leaving = why
        if self._active == 0:
            self._retire(why)

    def _retire(self, why: str) -> None:
        self._leaving = why
        if self._master is not None:
            self._master.retire()


def _idle(reason: str) -> Ended:
    return _failed(Status.NOT_RUN, reason)


def _failed(status: Status, reason: str) -> Ended:
    return Ended(ending=Ending(status=status, sent=False, phase=Phase.QUEUED, reason=reason), phases=Phases())
