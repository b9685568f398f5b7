"""`Fleet`: the public fleet for async code."""

from __future__ import annotations

import asyncio
import math
import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Unpack

import anyio

from sshfan_async.engine.run import check_names
from sshfan_async.fleet.home import Home, cannot_be_stopped
from sshfan_async.fleet.part import Part, RunOutcomes
from sshfan_async.fleet.settings import checked_settings
from sshfan_async.loop.loops import in_thread, is_standard
from sshfan_async.loop.uncancelled import complete
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
    """All or some hosts of a fleet."""

    def hosts(self, hosts: Hosts) -> FleetPart:
        """Return a part of the fleet with only `hosts`. It uses the same connections.

        Raises:
            InvalidTarget: a host is not in the fleet, or cannot be used.

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

        Runs may overlap. On each host, at most `sessions` commands run at once, and further commands are queued. If a
        connection is lost before the command was sent, the host is connected again; a command is never sent twice. If
        the calling task is cancelled, the commands are ended before the cancellation continues.

        Args:
            command: text, which the remote shell gets unchanged, or a sequence of arguments, which are quoted for it.
            timeout: seconds for the command on one host, from when it is sent until it ends; None for no limit. The
                fleet's `connect_timeout` limits the wait before that.
            deadline: seconds for the whole run; None for no limit.
            kill_after: seconds between TERM and KILL, when a command is ended.
            stdin: the standard input of the command on each host: bytes, text (sent as UTF-8), or a binary file, read
                from its current position to its end. None for empty input.
            on_stop: what happens to the remote command on a timeout, on the deadline or on cancellation. `"kill"`
                ends it: the host is asked to signal it, if its sshd is known to do so (7.9 or newer; for root, 9.8 or
                newer). For any other server, the command is sent in a wrapper, as with `fan_out`. `"always"` always
                sends the wrapper, which also ends the command if the connection is lost or this process dies.
                `"leave"` lets the command run.
            max_output: bytes to keep of a host's stdout, and as many of its stderr; None for all. Further bytes are
                read, counted and discarded.

        Raises:
            InvalidSetting: an argument cannot be used. Nothing has been started.
            RuntimeError: the fleet is not open, is closed, or belongs to another event loop or process.

        """
        outcomes = RunOutcomes()
        run = self._run(
            command, outcomes.add, timeout=timeout, deadline=deadline, kill_after=kill_after, stdin=stdin,
            on_stop=on_stop, max_output=max_output,
        )  # fmt: skip
        await self._home.run(self._pool, run)
        return outcomes.report(self._members)

    def stream(
        self, command: Command, **options: Unpack[CommandOptions]
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
        """Run `command` on all hosts and yield each outcome when its host has ended.

            async with fleet.stream("uptime") as outcomes:
                async for outcome in outcomes:
                    ...

        Leaving the block early ends the commands that are still running. A slow consumer does not slow the hosts
        down. The arguments and the errors raised are those of `run`.
        """
        check_names("stream", options, CommandOptions)
        send, receive = anyio.create_memory_object_stream["Outcome"](math.inf)

        def emit(outcome: Outcome) -> None:
            # The consumer may have closed its end inside the block.
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                send.send_nowait(outcome)

        try:
            run = self._run(command, self._home.emitter(emit), **options)
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
        running = asyncio.ensure_future(self._home.run(self._pool, run))
        running.add_done_callback(lambda _: send.close())
        try:
            yield receive
        finally:
            receive.close()
            self._home.call(run.cancel)
            await complete(running)


class Fleet(FleetPart):
    """Run many commands over open connections to the same hosts.

        async with Fleet(hosts) as fleet:
            report = await fleet.run("uptime")

    Each connection is an `ssh` child process, which does the authentication and the encryption. The commands go
    through its control socket. Entering the block connects to all hosts. A host that cannot be reached is not an
    error: see `status`. Leaving the block ends all commands and connections. If this process is killed, no ssh
    process and no file stays behind.

    A fleet works in any asyncio event loop. If that is not a standard one (uvloop), the fleet uses a standard loop in
    a thread of its own.

    Args:
        hosts: a host name (`"web1"`, `"ops@web1:2222"`), a `Target`, or an iterable of them. Names are not expanded:
            use `nodes()` for a node set such as `web[1-20]`.
        user: the remote user for targets that name none; None leaves it to ssh.
        ssh: the ssh program, configuration file and options. The session options of ssh_config (SendEnv, SetEnv,
            ForwardAgent, RemoteCommand) have no effect. ServerAliveInterval is 15 and ServerAliveCountMax is 3,
            unless `Ssh(options=...)` sets them.
        fanout: the maximum number of hosts that are being connected to at once; None for all.
        connect_timeout: seconds for one attempt to connect, and for the host to open the session of a command. A
            queued command also waits at most that long while no other command of its host gets a session. None for no
            limit.
        idle_timeout: seconds without a command after which a connection is closed; None for never. The next command
            connects again.
        max_age: seconds after which a connection gets no further command, and is closed when its last one has ended;
            None for never. The next command connects again, at once.
        sessions: the maximum number of commands at once on one host; further commands are queued. sshd itself allows
            10 by default (sshd_config(5): MaxSessions).
        retries: the maximum number of further attempts to connect to a host, after a failure that can be temporary.

    Raises:
        InvalidTarget: a host or `user` cannot be used. Nothing has been started.
        InvalidSetting: another argument cannot be used. Nothing has been started.
        FleetUnavailable: on entry: ssh cannot be started on this machine.
        RuntimeError: on entry: this fleet was entered before.

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
            await in_thread(import_module, _POOL)  # takes 50 ms, too long for the event loop
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
            self._home.close()
