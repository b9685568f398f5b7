"""What a fleet is behind its front door: the connections, and the runs over them; all in one standard event loop."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sshfan_async.attempt import not_started
from sshfan_async.capture import Store
from sshfan_async.descriptors import BUDGET, enlarge_table
from sshfan_async.errors import FleetUnavailable
from sshfan_async.fleet.command import HostCommand
from sshfan_async.fleet.keeper import Keeper
from sshfan_async.fleet.link import DESCRIPTORS, Link
from sshfan_async.fleet.spare import Spares
from sshfan_async.fleet.tasks import completed
from sshfan_async.launch import common_argv, ssh_environment
from sshfan_async.logpipe import LogPipes
from sshfan_async.outcome import Outcome, Phase, Status
from sshfan_async.pacing import Pacer
from sshfan_async.readers import make_readers
from sshfan_async.runlog import RunLog
from sshfan_async.settings import OnStop
from sshfan_async.source import open_source
from sshfan_async.sshlog import Ending
from sshfan_async.supervisor import ask_version, find_program
from sshfan_async.watchdog import new_secret, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sshfan_async.fleet.command import Cause
    from sshfan_async.fleet.plan import Plan
    from sshfan_async.launch import Client
    from sshfan_async.readers import Readers
    from sshfan_async.settings import Run, Ssh
    from sshfan_async.source import Source
    from sshfan_async.stdin import Input
    from sshfan_async.targets import Target

__all__ = ["Engine", "Equipment", "FleetRun"]

_A_TURN = 8
"""Commands sent in one turn of the loop: well under a millisecond."""


@dataclass(slots=True, kw_only=True)
class Equipment:
    """What all connections of a fleet share."""

    plan: Plan
    executable: str
    client: Client
    common_argv: tuple[str, ...]
    environment: Mapping[bytes, bytes] | None
    keeper: Keeper
    spares: Spares
    log_pipes: LogPipes
    readers: Readers
    store: Store
    pacer: Pacer
    places: asyncio.Semaphore
    log: RunLog
    most: int
    """Connections that the limit on open files leaves room for."""
    connections: int = 0

    @property
    def ssh(self) -> Ssh:
        """The settings of every ssh."""
        return self.plan.ssh

    @property
    def user(self) -> str | None:
        """The user of targets that name none."""
        return self.plan.user

    @property
    def connect_timeout(self) -> float | None:
        """Seconds for one attempt."""
        return self.plan.connect_timeout


class Engine:
    """One fleet. All its methods belong into the loop in which it is opened."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._links: dict[Target, Link] = {}
        self._equipment: Equipment | None = None
        self._runs: set[FleetRun] = set()
        self._closing = False

    async def open(self) -> None:
        """Connect to all hosts; return when each is connected or has failed.

        Raises:
            FleetUnavailable: ssh cannot be started here at all.

        """
        plan = self._plan
        try:
            executable = find_program(plan.ssh)
            client = await ask_version(executable)
            readers = make_readers(asyncio.get_running_loop())
            try:
                keeper = await completed(Keeper.start())
            except BaseException:
                readers.close()
                raise
        except OSError as error:
            raise FleetUnavailable(not_started(error, plan.ssh).reason) from None
        log = RunLog()
        await log.open()
        most = max(1, BUDGET.room() // DESCRIPTORS)
        await enlarge_table(min(most, len(plan.targets)) * DESCRIPTORS)
        self._equipment = equipment = Equipment(
            plan=plan,
            executable=executable,
            client=client,
            common_argv=common_argv(plan.ssh, client, connect_timeout=plan.connect_timeout),
            environment=ssh_environment(os.environb),
            keeper=keeper,
            spares=Spares(),
            log_pipes=LogPipes(),
            readers=readers,
            store=Store(0),
            pacer=Pacer(),
            places=asyncio.Semaphore(len(plan.targets) if plan.fanout is None else plan.fanout),
            log=log,
            most=most,
        )
        self._links = {target: Link(equipment, target, name) for target, name in plan.targets.items()}
        if self._links and not self._closing:
            await asyncio.wait([link.connect() for link in self._links.values()])

    def stop_opening(self) -> None:
        """Let `open` return soon; `close` is due then."""
        self._closing = True
        for link in self._links.values():
            link.stop_connecting()

    async def close(self) -> None:
        """End all runs, then all connections; return when every ssh is reaped and no file is left."""
        self._closing = True
        for run in self._runs:
            run.cancel()
        if self._runs:
            await completed(asyncio.wait([run.ended for run in self._runs]))
        for link in self._links.values():
            link.stop_connecting()
        await completed(asyncio.gather(*(link.close() for link in self._links.values())))
        equipment, self._equipment = self._equipment, None
        if equipment is not None:
            await completed(equipment.keeper.close())
            equipment.spares.close()
            equipment.readers.close()
            equipment.log_pipes.close()
            equipment.store.close()

    def statuses(self, targets: Iterable[Target]) -> tuple[Outcome, ...]:
        """Return how each connection stands."""
        return tuple(self._links[target].outcome() for target in targets)

    async def run(self, run: FleetRun) -> None:
        """Run a command to the end; each host's outcome is told to the run's `emit`."""
        if self._closing or self._equipment is None:
            raise RuntimeError("this fleet is closed: run commands inside its `with` block")
        self._runs.add(run)
        try:
            await run.go([self._links[target] for target in run.run.targets], self._equipment.log)
        finally:
            self._runs.discard(run)


class FleetRun:
    """One command on some hosts of a fleet."""

    source: Source | None = None
    store: Store

    def __init__(self, run: Run, emit: Callable[[Outcome], None]) -> None:
        self.run = run
        self.began = time.monotonic()
        self.ended: asyncio.Future[None]
        self._emit = emit
        self._commands: set[HostCommand] = set()
        self._stopped: Cause | None = None
        self._log: RunLog
        self._plain = os.fsencode(run.command)
        self._wrapped: tuple[bytes, str] | None = None

    async def go(self, links: list[Link], log: RunLog) -> None:
        """Submit the command to `links`; return when each has its outcome; cancelled, too."""
        loop = asyncio.get_running_loop()
        self._log, self.ended = log, loop.create_future()
        self.store = Store(self.run.limits.memory)
        deadline = self.run.clocks.deadline
        timer = None if deadline is None else loop.call_later(deadline, self.stop, "deadline")
        try:
            commands = [HostCommand(self, link) for link in links]
            self._commands.update(commands)
            if self.run.stdin is not None:
                await self._open_source(self.run.stdin)
            await completed(self._submit(commands, links), on_cancel=self.cancel)
            if self._commands:
                await completed(self.ended, on_cancel=self.cancel)
        finally:
            if timer is not None:
                timer.cancel()
            if not self.ended.done():
                self.ended.set_result(None)
            if self.source is not None:
                self.source.close()
            self.store.close()

    async def _submit(self, commands: list[HostCommand], links: list[Link]) -> None:
        """Hand each command to its host: some in each turn of the loop, so that none becomes long."""
        for number, (command, link) in enumerate(zip(commands, links, strict=True), 1):
            if self._stopped is not None:
                command.stop(self._stopped)
            elif command in self._commands:
                link.submit(command)
            if number % _A_TURN == 0:
                await asyncio.sleep(0)

    async def _open_source(self, given: Input) -> None:
        opening = asyncio.ensure_future(open_source(given))
        try:
            either: list[asyncio.Future[Any]] = [opening, self.ended]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                self.source = opening.result()
        except OSError as error:
            why = f"its standard input cannot be read: {error.strerror or error}"
            for command in list(self._commands):
                command.fail(Ending(status=Status.LOCAL, sent=False, phase=Phase.QUEUED, reason=why))
        finally:
            opening.cancel()

    def stop(self, cause: Cause) -> None:
        """End every command that has not ended, or not begun; `go` returns when that is done."""
        self._stopped = cause
        for command in list(self._commands):
            command.stop(cause)

    def cancel(self) -> None:
        """End the run early, on its caller's wish."""
        self.stop("stop")

    def text(self, *, wrapped: bool) -> tuple[bytes, str | None]:
        """Return what the login shell gets, and the secret of the wrapping."""
        if not wrapped:
            return self._plain, None
        if self._wrapped is None:
            run, secret = self.run, new_secret()
            size = None if self.source is None else self.source.size
            mode = OnStop.KILL if run.on_stop is OnStop.LEAVE else run.on_stop
            whole = wrap(run.command, secret=secret, on_stop=mode, grace=run.clocks.kill_after, stdin_size=size)
            self._wrapped = os.fsencode(whole), secret
        return self._wrapped

    def finish(self, command: HostCommand, outcome: Outcome) -> None:
        """A command has its outcome."""
        self._commands.discard(command)
        self._log.host_finished(outcome)
        self._emit(outcome)
        if not self._commands and not self.ended.done():
            self.ended.set_result(None)
