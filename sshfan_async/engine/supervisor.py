"""Run all targets: launch a `Host` for each when a slot is free, and emit exactly one outcome for each."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from contextvars import copy_context
from itertools import chain
from typing import TYPE_CHECKING

from sshfan_async.engine.context import RunContext
from sshfan_async.engine.ended import Ended, not_run, spawn_failed
from sshfan_async.engine.flow import Flow
from sshfan_async.engine.host import Host
from sshfan_async.engine.pacing import Pacer
from sshfan_async.engine.run_log import RunLog
from sshfan_async.engine.slots import Slots
from sshfan_async.event import HostFinished
from sshfan_async.loop.scope import CancelScope
from sshfan_async.loop.timers import Timers
from sshfan_async.outcome import Phases
from sshfan_async.process.argv import common_argv, ssh_environment
from sshfan_async.process.child import DESCRIPTORS
from sshfan_async.process.client import find_program, identify
from sshfan_async.process.descriptors import enlarge_table
from sshfan_async.process.log_pipe import LogPipes
from sshfan_async.process.readers import make_readers
from sshfan_async.process.spawn_gate import spawn_gate
from sshfan_async.process.watchdog import Wrapper
from sshfan_async.settings import OnStop
from sshfan_async.stdio.capture import Store
from sshfan_async.stdio.source import Source, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sshfan_async.engine.run import Run
    from sshfan_async.engine.slots import SharedLimiter
    from sshfan_async.event import Event
    from sshfan_async.outcome import Clock, Outcome
    from sshfan_async.process.readers import Readers
    from sshfan_async.sshlog.verdict import Verdict
    from sshfan_async.targets import Target

__all__ = ["Supervisor", "refuse"]

_PER_TURN = 500
"""Outcomes of targets that were not launched, for one turn of the loop: 4 ms."""


def refuse(run: Run, emit: Callable[[Event], None], error: OSError) -> None:
    """Emit `HostFinished` for each target instead of a run: nothing can be started here, because of `error`."""
    for target, name in run.targets.items():
        ended = Ended(verdict=spawn_failed(error, run.ssh), phases=Phases(queued=0.0))
        emit(HostFinished(ended.outcome(target, name, 0)))


class Supervisor:
    """One run. `run()` returns when each target has its outcome. Call the other methods in the same event loop.

    The hosts are plain asyncio tasks: an anyio task takes 2.4 KiB more, and a cancelled anyio scope wakes the loop in
    every turn until the child has ended.
    """

    def __init__(
        self, run: Run, emit: Callable[[Event], None], *, followed: bool = False, limiter: SharedLimiter | None = None
    ) -> None:
        """`emit` receives each event. `followed`: phases and output too, not only starts and ends.

        `limiter` replaces the run's own limiter if that one belongs to another event loop.
        """
        self._run = run
        self._emit = emit
        self._limiter = limiter
        self._run_log = RunLog()
        self._pending: Iterator[tuple[Target, str]] = iter(run.targets.items())
        self._hosts: set[Host] = set()
        # One context for all tasks: a copy for each would be one more object for every garbage collection to visit.
        self._task_context = copy_context()
        self._launching = CancelScope()
        self._stopped = False
        self._flow = Flow(deadline=math.inf, followed=followed)

    def stop(self) -> None:
        """Launch no further target (`not_run`), and end the targets in flight (`cancelled`)."""
        self._stopped = True
        self._launching.cancel()
        for host in self._hosts:
            host.stop()

    def drain(self) -> None:
        """Launch no further target (`not_run`), and let the targets in flight end normally."""
        self._launching.cancel()

    def pause(self) -> None:
        """Stop reading output, and stop `timeout` and `deadline`, until `resume`."""
        self._flow.pause()
        self._launching.deadline = math.inf

    def resume(self) -> None:
        """Read output again, and restart the clocks."""
        self._flow.resume()
        self._launching.deadline = self._flow.deadline

    async def run(self) -> None:
        """Run all targets. Emit `HostFinished` exactly once for each, in order of completion."""
        began = time.monotonic()
        deadline = self._run.clocks.deadline
        if deadline is not None:
            self._launching.deadline = self._flow.deadline = began + deadline
        with contextlib.ExitStack() as resources:
            try:
                async with asyncio.TaskGroup() as group:
                    await self._start_all(resources, group, began)
            finally:
                for host in tuple(self._hosts):
                    host.conclude()  # its task was cancelled before its first step
        self._run_log.run_finished(time.monotonic() - began)

    async def _start_all(self, resources: contextlib.ExitStack, group: asyncio.TaskGroup, began: float) -> None:
        failure: Verdict | None = None
        try:
            with self._launching:
                try:
                    context = await self._prepare(resources)
                except OSError as error:
                    failure = spawn_failed(error, self._run.ssh)
                else:
                    await self._launch_all(context, group, began)
        finally:
            await self._finish_pending(failure, time.monotonic() - began)

    async def _prepare(self, resources: contextlib.ExitStack) -> RunContext:
        """Set up what all attempts share; `resources` closes it.

        Raises:
            OSError: ssh cannot be started, or `stdin` cannot be read.

        """
        run = self._run
        await self._run_log.open()
        executable = find_program(run.ssh)
        client = await identify(executable)
        source: Source | None = None
        if run.stdin is not None:
            try:
                source = await open_source(run.stdin)
            except OSError as error:
                why = error.strerror or str(error)
                raise OSError(error.errno, f"its standard input cannot be read: {why}") from error
            resources.callback(source.close)
        gate = spawn_gate()
        null, readers = await gate.start(_open_shared)
        resources.callback(os.close, null)
        resources.callback(readers.close)
        store = Store(run.limits.memory)
        resources.callback(store.close)
        log_pipes = LogPipes()
        resources.callback(log_pipes.close)
        wrapper: Wrapper | None = None
        # Do not wrap the command for a program that is not OpenSSH's client: it may do anything with the text.
        if run.on_stop is not OnStop.LEAVE and client.version is not None:
            size = None if source is None else source.size
            wrapper = Wrapper(run.command, on_stop=run.on_stop, grace=run.clocks.kill_after, stdin_size=size)
        descriptors = DESCRIPTORS + (source is not None or wrapper is not None)
        return RunContext(
            run=run,
            emit=self._emit,
            run_log=self._run_log,
            pacer=Pacer(),
            slots=Slots(run, descriptors, self._limiter, self._run_log),
            flow=self._flow,
            client=client,
            executable=executable,
            common_argv=common_argv(run.ssh, client, connect_timeout=run.clocks.connect_timeout),
            wrapper=wrapper,
            environment=ssh_environment(os.environb),
            null=null,
            source=source,
            gate=gate,
            log_pipes=log_pipes,
            readers=readers,
            timers=Timers(asyncio.get_running_loop()),
            store=store,
        )

    async def _launch_all(self, context: RunContext, group: asyncio.TaskGroup, began: float) -> None:
        await enlarge_table(context.slots.most * context.slots.descriptors)
        on_end = self._host_ended  # one bound method for all hosts
        for each in self._pending:
            host = Host(context, *each, began, on_end)
            try:
                await host.admitted()
            except BaseException:
                self._pending = chain((each,), self._pending)
                raise
            self._hosts.add(host)
            if self._stopped:
                host.stop()  # it got its slot in the turn of the loop that stopped the run
            group.create_task(host.run(), context=self._task_context)
            # One host that waits for its spawn is enough: more would only use memory.
            await asyncio.sleep(0)
            await context.gate.cleared()

    async def _finish_pending(self, failure: Verdict | None, queued: float) -> None:
        """Emit the outcomes of the targets that were not launched, `_PER_TURN` in one turn of the loop.

        After a cancellation all that are left are emitted at once.
        """
        clock: Clock | None = "deadline" if time.monotonic() >= self._flow.deadline else None
        ended = Ended(
            verdict=not_run(clock) if failure is None else failure,
            phases=Phases(queued=queued),
            clock=clock if failure is None else None,
        )
        cancelled: asyncio.CancelledError | None = None
        for number, (target, name) in enumerate(self._pending, 1):
            self._finish(ended.outcome(target, name, 0))
            if number % _PER_TURN == 0 and cancelled is None:
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    def _host_ended(self, host: Host, outcome: Outcome) -> None:
        self._hosts.discard(host)
        self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self._run_log.host_finished(outcome)
        self._emit(HostFinished(outcome))


def _open_shared() -> tuple[int, Readers]:
    """Open what all children of a run share: the null device, and the poll object of their pipes."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return null, make_readers(asyncio.get_running_loop())
    except BaseException:
        os.close(null)
        raise
