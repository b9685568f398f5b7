"""One ssh master: an ssh process that only holds the connection to a host, and our connection to that process."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from sshfan_async.engine.ended import Ended, spawn_failed, stopped
from sshfan_async.loop.uncancelled import complete, unlisted_task
from sshfan_async.mux.connection import Connection, open_connection
from sshfan_async.mux.wire import MuxError
from sshfan_async.outcome import Phases, Status
from sshfan_async.process.argv import master_argv
from sshfan_async.process.child import Child
from sshfan_async.process.spawn_gate import spawn_gate
from sshfan_async.sshlog.diagnostics import words
from sshfan_async.sshlog.server import MasterLog
from sshfan_async.sshlog.stamps import phases
from sshfan_async.sshlog.verdict import Verdict

if TYPE_CHECKING:
    from sshfan_async.event import Stream
    from sshfan_async.fleet.context import FleetContext
    from sshfan_async.outcome import Clock
    from sshfan_async.process.child import Listener
    from sshfan_async.sshlog.log import SshLog
    from sshfan_async.targets import Target

__all__ = ["Master"]

_GRACE = 2.0
"""Seconds between TERM and KILL for a master, which has nothing to finish."""
_EXIT_WAIT = 1.0
"""Seconds to wait for the exit of a master that has closed its socket: its exit shows why."""


class Master:
    """An ssh child without a command. Await `connect` for the connection, then `lost` for its end."""

    connection: Connection
    follows = True

    def __init__(self, context: FleetContext, target: Target, listener: Listener) -> None:
        self.ssh_log = MasterLog(context.client.log_style, real=context.client.version is not None)
        self._context = context
        self._target = target
        self._listener = listener
        self._path = ""
        self._ready_or_exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._retired = False
        self._child: Child
        self._exit: asyncio.Task[int]

    async def connect(self, enqueued_at: float) -> Ended:
        """Start ssh and connect to its socket. The status is `ok` if that succeeds.

        If it fails or is cancelled, ssh is ended before the return.
        """
        started_at = time.time()
        try:
            with self._context.socket_guard.socket_path() as self._path:
                await spawn_gate().start(self._spawn)
                verdict, clock = await self._reach()
        except OSError as error:
            verdict = spawn_failed(error, self._context.settings.ssh)
            return Ended(verdict=verdict, phases=Phases(queued=time.monotonic() - enqueued_at))
        try:
            return self._ended(verdict, clock, enqueued_at, started_at)
        except BaseException:
            await self._end()
            raise

    def _ended(self, verdict: Verdict, clock: Clock | None, enqueued_at: float, started_at: float) -> Ended:
        child, ssh_log = self._child, self.ssh_log
        ended_at = time.monotonic() if child.ended_at is None else child.ended_at
        return Ended(
            verdict=verdict,
            phases=phases(ssh_log.stamps, child.launched_at, ended_at, child.launched_at - enqueued_at),
            started_at=started_at,
            clock=clock,
            peer=ssh_log.peer,
        )

    async def lost(self) -> str:
        """Wait for the end of the connection, then end ssh; return why the connection ended."""
        exit_, closed = self._exit, self.connection.closed
        try:
            either: list[asyncio.Future[Any]] = [exit_, closed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._retired:
                await asyncio.wait([exit_], timeout=_EXIT_WAIT)
        finally:
            exited = exit_.done()
            await self.end()
        reason = await closed
        if reason or not exited:
            return reason or "the ssh master closed its control socket"
        return self._exit_reason()

    async def end(self) -> None:
        """Close the connection and end ssh, if they have not ended."""
        self.connection.close()
        await self._end()

    def retire(self) -> None:
        """Close the connection; `lost` then ends ssh."""
        self._retired = True
        self.connection.close()

    def progressed(self, ssh_log: SshLog) -> None:
        """React to new lines in ssh's log: note when the control socket exists."""
        self._listener.progressed(ssh_log)
        # ssh creates the socket before it logs that it enters its loop (ssh.c: ssh_session2).
        if self.ssh_log.authenticated and os.path.exists(self._path):
            self._set_ready_or_exited()

    def wrote(self, stream: Stream, data: bytes) -> None:
        """Ignore output: a master runs no command."""

    def _set_ready_or_exited(self) -> None:
        if not self._ready_or_exited.done():
            self._ready_or_exited.set_result(None)

    def _spawn(self) -> None:
        context = self._context
        pipe = context.log_pipes.open()
        argv = master_argv(
            context.common_argv, self._target, user=context.settings.user, log_path=pipe.path, socket_path=self._path
        )
        self._child = Child.spawn(
            context.executable,
            argv,
            context.environment,
            ssh_log=self.ssh_log,
            log_pipe=pipe,
            readers=context.readers,
            timers=context.timers,
            null=asyncio.subprocess.DEVNULL,
            source=None,
            reports=None,
            store=context.store,
            max_output=0,
            listener=self,
        )
        self._exit = unlisted_task(self._child.wait())
        self._exit.add_done_callback(lambda _: self._set_ready_or_exited())

    async def _reach(self) -> tuple[Verdict, Clock | None]:
        """Wait until ssh listens on its socket, and connect to it. If that fails, end ssh."""
        clocks, reached = self._context.settings.clocks, False
        try:
            async with asyncio.timeout(clocks.connect_timeout):
                await self._ready_or_exited
                if not self._exit.done():
                    self.connection = await open_connection(self._path)
                    reached = True
        except TimeoutError:
            phase, after = self.ssh_log.phase(), time.monotonic() - self._child.launched_at
            return stopped("connect_timeout", clocks, after=after, phase=phase, sent=False), "connect_timeout"
        except (OSError, MuxError) as error:
            reason = f"the ssh master cannot be used: {error}"
            return Verdict(status=Status.LOCAL, sent=False, phase=self.ssh_log.phase(), reason=reason), None
        finally:
            if not reached:
                await self._end()
        if reached:
            return Verdict(status=Status.OK, sent=False, phase=self.ssh_log.phase()), None
        assert self._child.returncode is not None
        verdict = self.ssh_log.end(self._child.returncode, self._child.preamble)
        if verdict.sent or verdict.status is Status.OK:
            reason = f"ssh exited with {self._child.returncode} and did not hold the connection: {verdict.reason}"
            verdict = Verdict(status=Status.LOCAL, sent=False, phase=verdict.phase, reason=reason)
        return verdict, None

    async def _end(self) -> None:
        """End ssh and wait for its exit, even if the caller is cancelled."""
        if self._child.ended_at is None:
            await self._child.stop(_GRACE)
        await complete(asyncio.wait([self._exit]))

    def _exit_reason(self) -> str:
        """Return why ssh exited: by a signal, or the reason that it wrote to stderr or to its log."""
        child = self._child
        assert child.returncode is not None
        if child.returncode < 0:
            return f"the ssh master was killed on this machine by signal {-child.returncode}"
        lines = [line for line in child.preamble.splitlines() if line.strip()]
        return words(lines[-1]) if lines else self.ssh_log.end(child.returncode).reason
