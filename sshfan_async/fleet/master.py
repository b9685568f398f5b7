"""One attempt at a host's connection: an ssh that only holds it, and our way into that ssh."""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import TYPE_CHECKING, Any, Protocol

from sshfan_async.attempt import Ended, not_started
from sshfan_async.child import Child
from sshfan_async.fleet.tasks import completed
from sshfan_async.launch import master_argv
from sshfan_async.mux import Connection, MuxError, open_connection
from sshfan_async.outcome import Phases, Status
from sshfan_async.spawning import spawn_gate
from sshfan_async.sshlog import Ending, SshLog, phases
from sshfan_async.sshlog.ending import printable

if TYPE_CHECKING:
    from sshfan_async.events import Stream
    from sshfan_async.fleet.engine import Equipment
    from sshfan_async.outcome import Clock
    from sshfan_async.sshlog import Style
    from sshfan_async.targets import Target

__all__ = ["Master"]

_GRACE = 2.0
"""Seconds between TERM and KILL for a master: it has nothing to finish."""
_LAST_WORDS = 1.0
"""Seconds that a master gets to exit by itself, and say why, once it has closed its socket."""


class Watcher(Protocol):
    """Who follows the attempt."""

    def progressed(self, log: SshLog) -> None:
        """The log has moved on."""


class Master:
    """An ssh child without a command. `connect` sees it to an open connection, `lost` to its end."""

    connection: Connection
    follows = True

    def __init__(self, equipment: Equipment, target: Target, watcher: Watcher) -> None:
        self.log = _MasterLog(equipment.client.style, real=equipment.client.version is not None)
        self._equipment = equipment
        self._target = target
        self._watcher = watcher
        self._path = ""
        self._moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._retired = False
        self._child: Child
        self._exit: asyncio.Task[int] | None = None

    async def connect(self, enqueued_at: float) -> Ended:
        """Start ssh and connect to it; the status of what is returned is `ok` where that is done.

        Otherwise, and when cancelled, ssh has been ended.
        """
        started_at = time.time()
        try:
            with self._equipment.keeper.socket_path() as self._path:
                async with spawn_gate():
                    self._begin()
                await self._made()
                ending, clock = await self._reach()
        except OSError as error:
            return Ended(
                ending=not_started(error, self._equipment.ssh), phases=Phases(queued=time.monotonic() - enqueued_at)
            )
        child, log = self._child, self.log
        ended_at = time.monotonic() if child.ended_at is None else child.ended_at
        return Ended(
            ending=ending,
            phases=phases(log.stamps, child.launched_at, ended_at, child.launched_at - enqueued_at),
            started_at=started_at,
            clock=clock,
            peer=log.peer,
        )

    async def lost(self) -> str:
        """Wait for the end of the connection, however it comes, and end what is left; return why it ended."""
        exit_, closed = self._exit, self.connection.closed
        assert exit_ is not None
        try:
            either: list[asyncio.Future[Any]] = [exit_, closed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._retired:
                await asyncio.wait([exit_], timeout=_LAST_WORDS)
        finally:
            by_itself = exit_.done()
            self.connection.close()
            await self._end()
        said = await closed
        if said or not by_itself:
            return said or "the ssh master closed its control socket"
        return self._last_words()

    def retire(self) -> None:
        """Close the connection; `lost` sees to the rest."""
        self._retired = True
        self.connection.close()

    def progressed(self) -> None:
        """The child's log has moved on."""
        self._watcher.progressed(self.log)
        # The socket is there before ssh logs that it enters its loop (ssh.c: ssh_session2).
        if self.log.authenticated and os.path.exists(self._path):
            self._move()

    def wrote(self, stream: Stream, data: bytes) -> None:
        """Nothing: without a command there is no output."""

    def _move(self) -> None:
        if not self._moved.done():
            self._moved.set_result(None)

    def _begin(self) -> None:
        equipment = self._equipment
        pipe = equipment.log_pipes.open()
        argv = master_argv(
            equipment.common_argv, self._target, user=equipment.user, log_path=pipe.path, socket_path=self._path
        )
        self._child = Child.begin(
            equipment.executable,
            argv,
            equipment.environment,
            log=self.log,
            log_pipe=pipe,
            readers=equipment.readers,
            null=asyncio.subprocess.DEVNULL,
            source=None,
            secret=None,
            store=equipment.store,
            max_output=0,
            listener=self,
        )

    async def _made(self) -> None:
        # Not in a task of its own: one that is cancelled before its first step would leave the child alone.
        await self._child.made()
        self._exit = asyncio.get_running_loop().create_task(self._child.wait())
        self._exit.add_done_callback(lambda _: self._move())

    async def _reach(self) -> tuple[Ending, Clock | None]:
        """Wait until ssh listens and connect to it; where that fails, end it."""
        patience, reached = self._equipment.connect_timeout, False
        try:
            async with asyncio.timeout(patience):
                await self._moved
                if self._exit is not None and not self._exit.done():
                    self.connection = await open_connection(self._path)
                    reached = True
        except TimeoutError:
            phase = self.log.phase()
            reason = f"timed out after {patience:.1f} s in {phase}"
            return Ending(status=Status.TIMED_OUT, sent=False, phase=phase, reason=reason), "connect_timeout"
        except (OSError, MuxError) as error:
            reason = f"the ssh master cannot be used: {error}"
            return Ending(status=Status.LOCAL, sent=False, phase=self.log.phase(), reason=reason), None
        finally:
            if not reached:
                await self._end()
        if reached:
            return Ending(status=Status.OK, sent=False, phase=self.log.phase()), None
        assert self._child.returncode is not None
        ending = self.log.end(self._child.returncode, self._child.preamble)
        if ending.sent or ending.status is Status.OK:
            reason = f"ssh exited with {self._child.returncode} in place of staying: {ending.reason}"
            ending = Ending(status=Status.LOCAL, sent=False, phase=ending.phase, reason=reason)
        return ending, None

    async def _end(self) -> None:
        """End the child, whoever cancels us meanwhile."""
        assert self._exit is not None
        if self._child.ended_at is None:
            await self._child.stop(_GRACE)
        await completed(asyncio.wait([self._exit]))

    def _last_words(self) -> str:
        """What ssh said of the end of its connection: on standard error, or in its log."""
        child = self._child
        assert child.returncode is not None
        if child.returncode < 0:
            return f"the ssh master was ended here by signal {-child.returncode}"
        lines = [line for line in child.preamble.splitlines() if line.strip()]
        return printable(lines[-1]) if lines else self.log.end(child.returncode).reason


_SOFTWARE = re.compile(rb"remote software version OpenSSH_(\d{1,3})\.(\d{1,3})")
_ROOT = re.compile(rb"Authenticating to \S+ as 'root'\r\n")
_BEGINNING = 16 * 1024


class _MasterLog(SshLog):
    """Also tells from its beginning whether the server signals a command on request."""

    __slots__ = ("_beginning",)

    def __init__(self, style: Style, *, real: bool) -> None:
        super().__init__(style, real=real)
        self._beginning = b""

    def feed(self, data: bytes, at: float) -> bool:
        if not self.authenticated:
            self._beginning = (self._beginning + data)[:_BEGINNING]
        return super().feed(data, at)

    def takes_signals(self) -> bool:
        """Whether sshd signals a session's process group: since 7.9, and for root since 9.8 (session.c)."""
        software = _SOFTWARE.search(self._beginning)
        if software is None:
            return False
        version = int(software[1]), int(software[2])
        return version >= ((9, 8) if _ROOT.search(self._beginning) else (7, 9))
