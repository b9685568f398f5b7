"""`Fleet`: the front door for async code."""

from __future__ import annotations

import asyncio
import math
import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Unpack

import anyio

from sshfan_async.engine.loops import is_standard
from sshfan_async.fleet.home import Home, cannot_be_stopped
from sshfan_async.fleet.part import Part, RunOutcomes
from sshfan_async.fleet.settings import checked_settings
from sshfan_async.process.uncancelled import complete
from sshfan_async.settings import CommandOptions, Ssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from sshfan_async.fleet.run import FleetRun
    from sshfan_async.outcome import Outcome
    from sshfan_async.report import Report
    from sshfan_async.settings import Command, Input
    from sshfan_async.targets import Hosts

__all__ = ["Fleet", "FleetPart"]

_SSH = Ssh()
_POOL = "sshfan_async.fleet.pool"


class FleetPart(Part):
    """The hosts of a fleet, or some of them."""

    def hosts(self, hosts: Hosts) -> FleetPart:
        """Return a part of the fleet, over the same connections.

        Raises:
            InvalidTarget: a host is not in the fleet.

        """
        return FleetPart(self._home, self._subset(hosts))

    async def run(
        self,
        command: Command,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        kill_after: float = 10.0,
        stdin: Input | None = None,
        on_stop: Literal["leave", "kill", "always"] = "kill",
        max_output: int | None = None,
    ) -> Report:
        """Run `command` on all hosts and return a report with exactly one outcome for each.

        Many runs may go on at once; what exceeds a host's sessions waits its turn. A host whose connection is gone is
        connected again, once nothing of the command can have reached it; a command is never sent twice. When the
        calling task is cancelled, the commands are ended before the cancellation goes on.

        Args:
            command: text for the remote shell as it is, or a sequence of arguments that is quoted for it.
            timeout: seconds from the moment the command is sent to its end.
            deadline: seconds for the whole run.
            kill_after: seconds between TERM and KILL.
            stdin: what each host gets on its standard input; nothing by default.
            on_stop: what happens to the remote command when our side stops waiting for it. `"kill"` has the host
                signal it where sshd is known to do so (from 7.9 on, for root from 9.8 on), and elsewhere sends it in
                a wrapping, as `fan_out` does; `"always"` always sends the wrapping.
            max_output: bytes kept of each of a host's two outputs.

        Raises:
            InvalidSetting: an argument cannot be used. Nothing has been started.

        """
        outcomes = RunOutcomes()
        run = self._run(
            "run", command, outcomes.add, timeout=timeout, deadline=deadline, kill_after=kill_after, stdin=stdin,
            on_stop=on_stop, max_output=max_output,
        )  # fmt: skip
        await self._home.finish(self._pool.run, run, stop=run.cancel)
        return outcomes.report(self._members)

    def stream(
        self, command: Command, **options: Unpack[CommandOptions]
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
        """Run `command` on all hosts and give each outcome as soon as it is there.

            async with fleet.stream("uptime") as outcomes:
                async for outcome in outcomes:
                    ...

        Leaving the block early ends what still runs. A slow consumer holds nobody back. The arguments, and what is
        raised, are those of `run`.
        """
        send, receive = anyio.create_memory_object_stream["Outcome"](math.inf)

        def emit(outcome: Outcome) -> None:
            # The consumer may have closed its end, and stay in the block.
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                send.send_nowait(outcome)

        try:
            run = self._run("stream", command, self._home.emitter(emit), **options)
        except BaseException:
            send.close()
            receive.close()
            raise
        return self._stream(run, send, receive)

    @asynccontextmanager
    async def _stream(
        self,
        run: FleetRun,
        send: MemoryObjectSendStream[Outcome],
        receive: MemoryObjectReceiveStream[Outcome],
    ) -> AsyncIterator[AsyncIterator[Outcome]]:
        going = asyncio.ensure_future(self._home.finish(self._pool.run, run, stop=run.cancel))
        going.add_done_callback(lambda _: send.close())
        try:
            yield receive
        finally:
            receive.close()
            self._home.tell(run.cancel)
            await complete(going)


class Fleet(FleetPart):
    """Hosts with open connections, for many commands.

        async with Fleet(hosts) as fleet:
            report = await fleet.run("uptime")

    Each connection is an `ssh` child of ours that does keys and cryptography; the commands go through its control
    socket. Entering connects to all hosts; one that cannot be reached is no error, `status` tells. Leaving ends
    everything; a process that is killed leaves no ssh behind, nor a file.

    Any asyncio loop: where it is not the standard one, the fleet lives on a standard loop in a thread of its own.

    Args:
        hosts: a literal name (`"web1"`, `"ops@web1:2222"`), a `Target`, or an iterable of them.
        user: the remote user of those targets that name none.
        ssh: the program, configuration file and options to use. What a session takes from ssh_config (SendEnv,
            SetEnv, ForwardAgent, RemoteCommand) has no effect here; ServerAliveInterval is 15 and ServerAliveCountMax
            3, unless `options` says otherwise.
        fanout: how many hosts are being connected to at once, None for all.
        connect_timeout: seconds for one attempt at a connection.
        idle_timeout: seconds without a command after which a connection is closed; the next command makes a new one.
        max_age: seconds after which a connection takes no further command, and a new one is made.
        sessions: commands at once per host; the others wait (sshd_config(5): MaxSessions is 10 by default).
        retries: how often a connection is tried again that was dropped.

    Raises:
        InvalidTarget: a host, or `user`, cannot be used. Nothing has been started.
        InvalidSetting: another argument cannot be used. Nothing has been started.

    """

    def __init__(
        self,
        hosts: Hosts,
        user: str | None = None,
        *,
        ssh: Ssh = _SSH,
        fanout: int | None = 64,
        connect_timeout: float | None = 30.0,
        idle_timeout: float | None = None,
        max_age: float | None = None,
        sessions: int = 10,
        retries: int = 2,
    ) -> None:
        settings = checked_settings(
            hosts, user, ssh=ssh, fanout=fanout, connect_timeout=connect_timeout, idle_timeout=idle_timeout,
            max_age=max_age, sessions=sessions, retries=retries,
        )  # fmt: skip
        super().__init__(Home(settings), settings.targets)

    async def __aenter__(self) -> Self:
        if _POOL not in sys.modules:
            await anyio.to_thread.run_sync(import_module, _POOL)  # 50 ms: not on the loop
        home = self._home
        pool = home.enter(here=is_standard(asyncio.get_running_loop()))
        try:
            await home.finish(pool.open, stop=pool.stop_opening)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._home.is_in_another_process:
            return
        try:
            await self._home.finish(self._pool.close, stop=cannot_be_stopped)
        finally:
            self._home.leave()
