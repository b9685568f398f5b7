"""`Pool`: the connections of a fleet and the runs over them, in one standard event loop."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

from sshfan_async.engine.ended import spawn_failed
from sshfan_async.engine.pacing import Pacer
from sshfan_async.engine.run_log import RunLog
from sshfan_async.errors import FleetUnavailable
from sshfan_async.fleet.context import FleetContext
from sshfan_async.fleet.host import DESCRIPTORS, FleetHost
from sshfan_async.fleet.socket_guard import SocketGuard
from sshfan_async.loop.timers import Timers
from sshfan_async.loop.uncancelled import complete, unlisted_task
from sshfan_async.mux.spare import Spares
from sshfan_async.process.argv import common_argv, ssh_environment
from sshfan_async.process.client import find_program, identify
from sshfan_async.process.descriptors import BUDGET, enlarge_table
from sshfan_async.process.log_pipe import LogPipes
from sshfan_async.process.readers import make_readers
from sshfan_async.process.spawn_gate import spawn_gate
from sshfan_async.stdio.capture import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sshfan_async.fleet.run import FleetRun
    from sshfan_async.fleet.settings import FleetSettings
    from sshfan_async.outcome import Outcome
    from sshfan_async.process.client import Client
    from sshfan_async.targets import Target

__all__ = ["Pool"]


class Pool:
    """The connections of one fleet. Call its methods in the loop in which it was opened."""

    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._hosts: dict[Target, FleetHost] = {}
        self._context: FleetContext | None = None
        self._runs: set[FleetRun] = set()
        self._closing = False

    async def open(self) -> None:
        """Connect to all hosts; return when each is connected or has failed.

        Raises:
            FleetUnavailable: ssh cannot be started on this machine.

        """
        settings = self._settings
        try:
            executable = find_program(settings.ssh)
            client = await identify(executable)
            run_log = RunLog()
            await run_log.open()
            most = max(1, BUDGET.room() // DESCRIPTORS)
            await enlarge_table(min(most, len(settings.targets)) * DESCRIPTORS)
            create = partial(self._new_context, executable, client, run_log, most)
            self._context = context = await spawn_gate().start(create)
        except OSError as error:
            raise FleetUnavailable(spawn_failed(error, settings.ssh).reason) from None
        self._hosts = {target: FleetHost(context, target, name) for target, name in settings.targets.items()}
        if self._hosts and not self._closing:
            await asyncio.wait([host.connect() for host in self._hosts.values()])

    def _new_context(self, executable: str, client: Client, run_log: RunLog, most: int) -> FleetContext:
        """Create what all hosts share; `close` ends it.

        Raises:
            OSError: this machine is out of processes or file descriptors.

        """
        settings, environment = self._settings, ssh_environment(os.environb)
        loop = asyncio.get_running_loop()
        readers = make_readers(loop)
        try:
            socket_guard = SocketGuard.start()
        except BaseException:
            readers.close()
            raise
        return FleetContext(
            settings=settings,
            executable=executable,
            client=client,
            common_argv=common_argv(
                settings.ssh, client, connect_timeout=settings.clocks.connect_timeout, for_masters=True
            ),
            environment={**(os.environb if environment is None else environment), **socket_guard.variables},
            socket_guard=socket_guard,
            spares=Spares(),
            log_pipes=LogPipes(),
            readers=readers,
            timers=Timers(loop),
            store=Store(0),
            pacer=Pacer(),
            slots=asyncio.Semaphore(len(settings.targets) if settings.fanout is None else settings.fanout),
            run_log=run_log,
            most=most,
        )

    def stop_opening(self) -> None:
        """Cancel connecting, so that `open` returns soon. Call `close` next."""
        self._closing = True
        for host in self._hosts.values():
            host.stop_connecting()

    async def close(self) -> None:
        """End all runs, then all connections; return when every ssh is reaped and all files are removed."""
        self._closing = True
        for run in self._runs:
            run.cancel()
        if self._runs:
            await complete(asyncio.wait([run.ended for run in self._runs]))
        for host in self._hosts.values():
            host.stop_connecting()
        await complete(asyncio.gather(*(unlisted_task(host.close()) for host in self._hosts.values())))
        context, self._context = self._context, None
        if context is not None:
            await complete(context.socket_guard.close())
            context.spares.close()
            context.readers.close()
            context.log_pipes.close()
            context.store.close()

    def statuses(self, targets: Iterable[Target]) -> tuple[Outcome, ...]:
        """Return the state of each connection."""
        return tuple(self._hosts[target].outcome() for target in targets)

    async def run(self, run: FleetRun) -> None:
        """Run a command to its end; the run's `emit` receives the outcome of each host.

        Raises:
            RuntimeError: the pool is closed.

        """
        if self._closing or self._context is None:
            raise RuntimeError("this fleet is closed: run commands inside its `with` block")
        self._runs.add(run)
        try:
            await run.go([self._hosts[target] for target in run.run.targets], self._context.run_log)
        finally:
            self._runs.discard(run)
