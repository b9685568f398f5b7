"""Many targets → outcomes: fanout, pacing, retries; exactly one outcome each, whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import math
import os
import random
import shutil
import time
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Protocol

import anyio

from sshfan_async.attempt import Attempt, Ended, Equipment, never_started, not_started
from sshfan_async.capture import Store
from sshfan_async.child import DESCRIPTORS, ask_client
from sshfan_async.descriptors import BUDGET, enlarge_table
from sshfan_async.events import HostFinished, HostOutput, HostPhase, HostStarted
from sshfan_async.flow import Flow
from sshfan_async.launch import Client, common_argv, ssh_environment
from sshfan_async.logpipe import LogPipes
from sshfan_async.outcome import Outcome, Phase, Phases
from sshfan_async.pacing import Pacer
from sshfan_async.readers import make_readers
from sshfan_async.runlog import RunLog
from sshfan_async.settings import OnStop
from sshfan_async.source import Source, open_source
from sshfan_async.spawning import check_exit_codes, spawn_gate
from sshfan_async.watchdog import new_secret, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.events import Event, Stream
    from sshfan_async.outcome import Clock
    from sshfan_async.pacing import Passage
    from sshfan_async.settings import Run, Ssh
    from sshfan_async.sshlog import Ending, SshLog
    from sshfan_async.targets import Target

__all__ = ["Supervisor", "ask_version", "find_program"]

_VERSION_PATIENCE = 1.0
"""Seconds for `ssh -V`. OpenSSH takes 5 ms; a stand-in may take for ever."""

_BACK_OFF = 0.5
"""Seconds before the second attempt, doubled for each further one; as much again at random spreads the hosts."""

# anyio loads what it has for asyncio when it is first called: 15 ms, in which the caller's loop would stand still.
with contextlib.suppress(ImportError):
    importlib.import_module("anyio._backends._asyncio")

_clients: dict[tuple[str, int, int], Client] = {}


class SharedLimiter(Protocol):
    """What is used of an `anyio.CapacityLimiter`."""

    @property
    def total_tokens(self) -> float: ...

    async def acquire_on_behalf_of(self, borrower: object) -> None: ...

    def release_on_behalf_of(self, borrower: object) -> None: ...


class Supervisor:
    """One run. `run()` returns when each target has its outcome; `stop()` ends it early, from the same loop.

    The hosts are asyncio's own tasks: anyio's carry 2.4 KiB more each, and a cancelled scope of anyio's wakes the
    loop in every turn for as long as a child takes to end.
    """

    def __init__(
        self, run: Run, emit: Callable[[Event], None], *, followed: bool = False, limiter: SharedLimiter | None = None
    ) -> None:
        """Emit also phases and output as they come, if `followed`.

        `limiter` stands in for the one in the run's limits, where that one belongs to another loop.
        """
        self.emit = emit
        self.log = RunLog()
        self.pacer = Pacer()
        self._run = run
        self._limiter = limiter
        self._pending = deque(run.targets.items())
        self._hosts: set[_Host] = set()
        # One for all: a copy for each task is one more object a host, which every garbage collection walks over.
        self._context = copy_context()
        self._launching = anyio.CancelScope()
        self._stopped = False
        self._flow = Flow(deadline=math.inf, followed=followed)

    def stop(self) -> None:
        """Start no further target and end those in flight: `cancelled`, or `not_run` where never started."""
        self._stopped = True
        self._launching.cancel()
        for host in self._hosts:
            host.stop()

    def drain(self) -> None:
        """Start no further target, which is then `not_run`; those in flight go on to their own end."""
        self._launching.cancel()

    def hold(self) -> None:
        """Read no further output, and let the clocks stand still, until `release`."""
        self._flow.hold()
        self._launching.deadline = math.inf

    def release(self) -> None:
        """Read on."""
        self._flow.release()
        self._launching.deadline = self._flow.deadline

    async def run(self) -> None:
        """Run all targets; each is told to `emit` as `HostFinished` exactly once, in order of completion."""
        began = time.monotonic()
        deadline = self._run.clocks.deadline
        if deadline is not None:
            self._launching.deadline = self._flow.deadline = began + deadline
        with contextlib.ExitStack() as shared:
            try:
                async with asyncio.TaskGroup() as group:
                    await self._start_all(shared, group, began)
            finally:
                for host in tuple(self._hosts):
                    host.conclude()  # its task was cancelled before its first step
        self.log.run_finished(time.monotonic() - began)

    async def _start_all(self, shared: contextlib.ExitStack, group: asyncio.TaskGroup, began: float) -> None:
        failure: Ending | None = None
        try:
            with self._launching:
                try:
                    equipment = await self._equip(shared)
                except OSError as error:
                    failure = not_started(error, self._run.ssh)
                else:
                    await self._launch_all(equipment, group, began)
        finally:
            self._finish_pending(failure, time.monotonic() - began)

    def _finish_pending(self, failure: Ending | None, queued: float) -> None:
        clock: Clock | None = "deadline" if time.monotonic() >= self._flow.deadline else None
        for target, name in self._pending:
            ended = Ended(
                ending=never_started(clock) if failure is None else failure,
                phases=Phases(queued=queued),
                clock=clock if failure is None else None,
            )
            self.finish(_outcome(target, name, 0, ended))

    async def _equip(self, shared: contextlib.ExitStack) -> Equipment:
        """Get ready what all attempts share, until `shared` is closed.

        Raises:
            OSError: the program cannot be started, or the standard input cannot be read.

        """
        run = self._run
        await self.log.open()
        executable = find_program(run.ssh)
        client = await ask_version(executable)
        source: Source | None = None
        if run.stdin is not None:
            try:
                source = await open_source(run.stdin)
            except OSError as error:
                why = error.strerror or str(error)
                raise OSError(error.errno, f"the standard input for it cannot be read: {why}") from error
            shared.callback(source.close)
        null = os.open(os.devnull, os.O_RDWR)
        shared.callback(os.close, null)
        readers = make_readers(asyncio.get_running_loop())
        shared.callback(readers.close)
        store = Store(run.limits.memory)
        shared.callback(store.close)
        log_pipes = LogPipes()
        shared.callback(log_pipes.close)
        command, secret = run.command, None
        # A program that is no OpenSSH client may do anything with a command: it gets it as it is.
        if run.on_stop is not OnStop.LEAVE and client.version is not None:
            secret = new_secret()
            size = None if source is None else source.size
            command = wrap(command, secret=secret, on_stop=run.on_stop, grace=run.clocks.kill_after, stdin_size=size)
        return Equipment(
            run=run,
            client=client,
            executable=executable,
            command=command,
            secret=secret,
            common_argv=common_argv(run.ssh, client, connect_timeout=run.clocks.connect_timeout),
            null=null,
            source=source,
            gate=spawn_gate(),
            environment=ssh_environment(os.environb),
            log_pipes=log_pipes,
            readers=readers,
            store=store,
            flow=self._flow,
        )

    async def _launch_all(self, equipment: Equipment, group: asyncio.TaskGroup, began: float) -> None:
        descriptors = DESCRIPTORS + (equipment.source is not None or equipment.secret is not None)
        places = _Places(self._run, descriptors, self._limiter, self.log)
        await enlarge_table(places.most * descriptors)
        while self._pending:
            host = _Host(self, equipment, places, *self._pending[0], began)
            await host.enter(None)
            self._pending.popleft()
            self._hosts.add(host)
            if self._stopped:
                host.stop()  # it got its place in the very turn of the loop in which the run was stopped
            group.create_task(host.run(), context=self._context)
            # Not further ahead than one: a host that waits for its spawn would only take memory.
            await asyncio.sleep(0)
            await equipment.gate.cleared()

    def leave(self, host: _Host, outcome: Outcome) -> None:
        """`host` has ended."""
        self._hosts.discard(host)
        self.finish(outcome)

    def finish(self, outcome: Outcome) -> None:
        """Tell an outcome."""
        self.log.host_finished(outcome)
        self.emit(HostFinished(outcome))


class _Places:
    """What a run's children share: places within the fanout, and descriptors."""

    def __init__(self, run: Run, descriptors: int, limiter: SharedLimiter | None, log: RunLog) -> None:
        self.need = descriptors
        self.room = BUDGET.room()
        hosts = len(run.targets)
        wanted = run.limits.fanout if limiter is None else limiter
        self.most: int
        """Children in flight at once."""
        if not isinstance(wanted, int) and wanted is not None:
            self._limiter: SharedLimiter = wanted
            self.most = int(min(hosts, wanted.total_tokens))
            log.run_started(hosts, self.most)
            return
        fanout = hosts if wanted is None else min(wanted, hosts)
        possible = max(1, self.room // self.need)
        if possible < fanout:
            log.fanout_lowered(fanout, possible)
        self.most = max(1, min(fanout, possible))
        self._limiter = anyio.CapacityLimiter(self.most)
        log.run_started(hosts, self.most)

    async def take(self, host: _Host) -> None:
        await self._enter(host)
        try:
            await BUDGET.lease(self.need, self.room)
        except BaseException:
            self._limiter.release_on_behalf_of(host)
            raise

    async def _enter(self, host: _Host) -> None:
        try:
            if isinstance(self._limiter, anyio.CapacityLimiter):
                # Where there is a place, the other way costs a scope and a turn of the loop: 3 % of a child's cost.
                self._limiter.acquire_on_behalf_of_nowait(host)
                return
        except anyio.WouldBlock:
            pass
        await self._limiter.acquire_on_behalf_of(host)

    def give_back(self, host: _Host) -> None:
        BUDGET.release(self.need)
        self._limiter.release_on_behalf_of(host)


class _Host:
    """One target on its way to its outcome: attempts, and back-off between them."""

    __slots__ = (
        "_attempt",
        "_attempts",
        "_enqueued_at",
        "_equipment",
        "_last",
        "_name",
        "_passage",
        "_phase",
        "_places",
        "_resting",
        "_stopped",
        "_supervisor",
        "_target",
    )

    def __init__(
        self,
        supervisor: Supervisor,
        equipment: Equipment,
        places: _Places,
        target: Target,
        name: str,
        enqueued_at: float,
    ) -> None:
        self._supervisor = supervisor
        self._equipment = equipment
        self._places = places
        self._target = target
        self._name = name
        self._enqueued_at = enqueued_at
        self._attempts = 0
        self._attempt: Attempt | None = None
        self._last: Ended | None = None
        self._passage: Passage | None = None
        self._phase = Phase.QUEUED
        self._resting: anyio.CancelScope | None = None
        self._stopped = False

    async def enter(self, peer: str | None) -> None:
        """Wait for a place in the fanout and on the way to `peer`."""
        await self._places.take(self)
        try:
            self._passage = await self._supervisor.pacer.enter(peer)
        except BaseException:
            self._places.give_back(self)
            raise

    def stop(self) -> None:
        """End what is under way."""
        self._stopped = True
        if self._attempt is not None:
            self._attempt.stop()
        if self._resting is not None:
            self._resting.cancel()

    async def run(self) -> None:
        """See the target to its outcome, from a place that `enter` has got; there is one however this ends."""
        supervisor, retries = self._supervisor, self._equipment.run.limits.retries
        try:
            while not self._stopped:
                supervisor.emit(HostStarted(self._target, self._name, self._attempts + 1))
                supervisor.log.host_started(self._target, self._attempts + 1)
                self._attempt = Attempt(self._equipment, self._enqueued_at, self)
                try:
                    ended = await self._attempt.run(self._target)
                finally:
                    self._attempt = None
                if ended is None:
                    return
                self._last, ending = ended, ended.ending
                self._attempts += 1
                if not ending.transient or self._attempts > retries or self._stopped:
                    return
                self._leave_place(ended)
                back_off = _BACK_OFF * 2 ** (self._attempts - 1) * random.uniform(1, 2)
                supervisor.log.host_retried(self._target, self._attempts, ending.reason, back_off)
                if not await self._rest(back_off, ended.peer):
                    return
        finally:
            self.conclude()

    def conclude(self) -> None:
        """Tell the outcome, and leave one's place."""
        last = self._last
        if last is None:
            last = Ended(ending=never_started(None), phases=Phases(queued=time.monotonic() - self._enqueued_at))
        # Told before its place is free: whoever drains the run because of it does so before the next host starts.
        self._supervisor.leave(self, _outcome(self._target, self._name, self._attempts, last))
        self._leave_place(last)

    def _leave_place(self, ended: Ended) -> None:
        if self._passage is not None:
            self._passage.end(dropped=ended.ending.transient and ended.peer is not None)
            self._passage = None
            self._places.give_back(self)

    def progressed(self, log: SshLog) -> None:
        """Ssh's log has moved on."""
        assert self._passage is not None
        if log.peer is not None:
            self._passage.identify(log.peer)
        if log.sent_at is not None and self._passage.succeed():
            self._supervisor.log.host_sent(self._target)
        if self._equipment.flow.followed and log.phase() is not self._phase:
            self._phase = log.phase()
            self._supervisor.emit(HostPhase(self._target, self._name, self._phase))

    def wrote(self, stream: Stream, data: bytes) -> None:
        """The command has written `data`."""
        self._supervisor.emit(HostOutput(self._target, self._name, stream, data))

    async def _rest(self, seconds: float, peer: str | None) -> bool:
        """Wait, then for a new place; False where the run ends before: the last attempt then stands."""
        with anyio.CancelScope(deadline=self._equipment.flow.deadline) as self._resting:
            await anyio.sleep(seconds)
            await self.enter(peer)
            self._resting = None
            return True
        self._resting = None
        return False


def _outcome(target: Target, name: str, attempts: int, last: Ended) -> Outcome:
    ending = last.ending
    return Outcome(
        target=target,
        host=name,
        status=ending.status,
        exit_code=ending.exit_code,
        phases=last.phases,
        started_at=last.started_at,
        attempts=attempts,
        sent=ending.sent,
        clock=last.clock,
        phase=ending.phase,
        remote=last.remote,
        reason=ending.reason,
        stdout_dropped=last.stdout_dropped,
        stderr_dropped=last.stderr_dropped,
        stdout_kept=last.stdout,
        stderr_kept=last.stderr,
    )


def find_program(ssh: Ssh) -> str:
    """Return where the program is.

    Raises:
        FileNotFoundError: nowhere.

    """
    path = shutil.which(os.fspath(ssh.program))
    if path is None:
        raise FileNotFoundError(os.fspath(ssh.program))
    return os.path.abspath(path)


async def ask_version(path: str) -> Client:
    """Return what the program is; each is asked once in the life of this process, and again when its file changes.

    Raises:
        OSError: it cannot be started, or its exit code would not reach us: nor would those of a run.

    """
    check_exit_codes()
    state = os.stat(path)
    key = (path, state.st_mtime_ns, state.st_size)
    if key not in _clients:
        # The shield: a scope of anyio's cancels again in each turn of the loop, also whoever reaps a child.
        with anyio.CancelScope(shield=True):
            async with spawn_gate().alone:  # asking starts a child too; and who waits here finds the answer
                if key not in _clients:
                    _clients[key] = await ask_client(path, _VERSION_PATIENCE)
    return _clients[key]
