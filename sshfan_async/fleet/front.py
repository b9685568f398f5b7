"""The front doors to a fleet: `Fleet` for async code, `SyncFleet` for the rest."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from concurrent.futures import wait
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import replace
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

import anyio

from sshfan_async.api import checked_run
from sshfan_async.errors import InvalidTarget
from sshfan_async.fleet.plan import checked_plan
from sshfan_async.fleet.tasks import completed
from sshfan_async.report import Report
from sshfan_async.settings import Ssh
from sshfan_async.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Any, Self

    from anyio.from_thread import BlockingPortal
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from sshfan_async.fleet.engine import Engine, FleetRun
    from sshfan_async.fleet.plan import Plan
    from sshfan_async.outcome import Outcome
    from sshfan_async.settings import Command
    from sshfan_async.stdin import Input

__all__ = ["Fleet", "Hosts", "SyncFleet", "SyncHosts"]

_SSH = Ssh()
_ENGINE = "sshfan_async.fleet.engine"


class _Home:
    """Where an engine lives: in the running loop, or in a standard one in a thread of its own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.engine: Engine | None = None
        self._portal: AbstractContextManager[BlockingPortal] | None = None
        self._elsewhere: BlockingPortal
        self._loop: asyncio.AbstractEventLoop

    def enter(self, *, here: bool) -> Engine:
        """Make the engine; `here`: in the running loop."""
        from sshfan_async.fleet.engine import Engine

        if self.engine is not None:
            raise RuntimeError("a fleet can be entered once: make another")
        self.engine = Engine(self.plan)
        if here:
            self._loop = asyncio.get_running_loop()
        else:
            from sshfan_async.running import standard_portal

            self._portal = standard_portal()
            self._elsewhere = self._portal.__enter__()
            self._loop = self._elsewhere.call(_running_loop)
        return self.engine

    def leave(self) -> None:
        """End the thread."""
        if self._portal is not None:
            self._portal.__exit__(None, None, None)

    def tell(self, function: Callable[..., object], *arguments: object) -> None:
        """Have `function` called in the engine's loop."""
        if self._portal is None:
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)

    async def see_through(
        self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object, stop: Callable[[], object]
    ) -> None:
        """Await `function`, run by the engine's loop; a cancellation calls `stop` there, and goes on at its end."""
        if self._portal is None:
            await completed(function(*arguments), on_cancel=stop)
        else:
            begun = asyncio.wrap_future(self.begin(function, *arguments))
            await completed(begun, on_cancel=lambda: self.tell(stop))

    def begin(self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> Future[None]:
        """Have `function` run by the loop in the thread."""
        return self._elsewhere.start_task_soon(function, *arguments)

    def wait_for(self, begun: Future[None], *, stop: Callable[[], object]) -> None:
        """Block until what has begun has ended; Ctrl-C calls `stop` in the engine's loop, and is raised then."""
        interrupt: KeyboardInterrupt | None = None
        while not begun.done():
            try:
                wait([begun])
            except KeyboardInterrupt as error:
                interrupt = error
                self.tell(stop)
        if interrupt is not None:
            raise interrupt
        begun.result()

    def emitter(self, emit: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
        """Return what the engine may call to have `emit` called in the running loop."""
        if self._portal is None:
            return emit
        loop = asyncio.get_running_loop()

        def emit_there(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(emit, outcome)

        return emit_there


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class _Part:
    """Some hosts of a fleet."""

    def __init__(self, home: _Home, mine: Mapping[Target, str]) -> None:
        self._home = home
        self._mine = mine

    @property
    def status(self) -> Report:
        """How each connection stands at this moment, as a report with one outcome per host.

        `ok`: connected. `not_run`: closed for want of use, or not connected yet. Any other status is why there is no
        connection: it could not be made (`unreachable`, `auth`, …), or was lost (`dropped`). `phases` and `attempts`
        are those of the last connecting.
        """
        return Report(self._engine.statuses(self._mine), finished_at=time.time())

    @property
    def _engine(self) -> Engine:
        if self._home.engine is None:
            raise RuntimeError("this fleet is not open: use it inside its `with` block")
        return self._home.engine

    def _subset(self, hosts: str | Target | Iterable[str | Target]) -> dict[Target, str]:
        chosen = targets(hosts)
        for target, name in chosen.items():
            if target not in self._mine:
                raise InvalidTarget(f"{name!r} is not in this fleet")
        return chosen

    def _run(self, command: Command, emit: Callable[[Outcome], None], **options: Any) -> FleetRun:
        from sshfan_async.fleet.engine import FleetRun

        run = checked_run((), command, ssh=self._home.plan.ssh, **options)
        return FleetRun(replace(run, targets=self._mine), emit)


class Hosts(_Part):
    """The hosts of a fleet, or some of them."""

    def hosts(self, hosts: str | Target | Iterable[str | Target]) -> Hosts:
        """Return a part of the fleet, over the same connections.

        Raises:
            InvalidTarget: a host is not in the fleet.

        """
        return Hosts(self._home, self._subset(hosts))

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
        outcomes = _Outcomes()
        run = self._run(
            command, outcomes.add, timeout=timeout, deadline=deadline, kill_after=kill_after, stdin=stdin,
            on_stop=on_stop, max_output=max_output,
        )  # fmt: skip
        await self._home.see_through(self._engine.run, run, stop=run.cancel)
        return outcomes.report(self._mine)

    def stream(
        self,
        command: Command,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        kill_after: float = 10.0,
        stdin: Input | None = None,
        on_stop: Literal["leave", "kill", "always"] = "kill",
        max_output: int | None = None,
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

        run = self._run(
            command, self._home.emitter(emit), timeout=timeout, deadline=deadline, kill_after=kill_after, stdin=stdin,
            on_stop=on_stop, max_output=max_output,
        )  # fmt: skip
        return self._stream(run, send, receive)

    @asynccontextmanager
    async def _stream(
        self,
        run: FleetRun,
        send: MemoryObjectSendStream[Outcome],
        receive: MemoryObjectReceiveStream[Outcome],
    ) -> AsyncIterator[AsyncIterator[Outcome]]:
        going = asyncio.ensure_future(self._home.see_through(self._engine.run, run, stop=run.cancel))
        going.add_done_callback(lambda _: send.close())
        try:
            yield receive
        finally:
            receive.close()
            self._home.tell(run.cancel)
            await completed(going)


class Fleet(Hosts):
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
        hosts: str | Target | Iterable[str | Target],
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
        plan = checked_plan(
            hosts, user=user, ssh=ssh, fanout=fanout, connect_timeout=connect_timeout, idle_timeout=idle_timeout,
            max_age=max_age, sessions=sessions, retries=retries,
        )  # fmt: skip
        super().__init__(_Home(plan), plan.targets)

    async def __aenter__(self) -> Self:
        if _ENGINE not in sys.modules:
            await anyio.to_thread.run_sync(import_module, _ENGINE)  # 50 ms: not on the loop
        home = self._home
        # asyncio's own loops start a child without stalling for longer than the spawn; uvloop forks.
        engine = home.enter(here=isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop))
        try:
            await home.see_through(engine.open, stop=engine.stop_opening)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        try:
            await self._home.see_through(self._engine.close, stop=_nothing)
        finally:
            self._home.leave()


class SyncHosts(_Part):
    """The hosts of a `SyncFleet`, or some of them."""

    def hosts(self, hosts: str | Target | Iterable[str | Target]) -> SyncHosts:
        """Return a part of the fleet, over the same connections.

        Raises:
            InvalidTarget: a host is not in the fleet.

        """
        return SyncHosts(self._home, self._subset(hosts))

    def run(
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
        """Run `command` on all hosts and return when all have ended, as `Hosts.run` does.

        Ctrl-C ends the commands, and is raised when that is done; the connections stay.
        """
        outcomes = _Outcomes()
        run = self._run(
            command, outcomes.add, timeout=timeout, deadline=deadline, kill_after=kill_after, stdin=stdin,
            on_stop=on_stop, max_output=max_output,
        )  # fmt: skip
        self._home.wait_for(self._home.begin(self._engine.run, run), stop=run.cancel)
        return outcomes.report(self._mine)

    @contextmanager
    def stream(
        self,
        command: Command,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        kill_after: float = 10.0,
        stdin: Input | None = None,
        on_stop: Literal["leave", "kill", "always"] = "kill",
        max_output: int | None = None,
    ) -> Iterator[Iterator[Outcome]]:
        """Run `command` on all hosts and give each outcome as soon as it is there.

            with fleet.stream("uptime") as outcomes:
                for outcome in outcomes:
                    ...

        Leaving the block early ends what still runs. The arguments, and what is raised, are those of `run`.
        """
        ended: SimpleQueue[Outcome | None] = SimpleQueue()
        run = self._run(
            command, ended.put, timeout=timeout, deadline=deadline, kill_after=kill_after, stdin=stdin,
            on_stop=on_stop, max_output=max_output,
        )  # fmt: skip
        begun = self._home.begin(self._engine.run, run)
        begun.add_done_callback(lambda _: ended.put(None))
        try:
            yield iter(ended.get, None)
        finally:
            self._home.tell(run.cancel)
            self._home.wait_for(begun, stop=run.cancel)


class SyncFleet(SyncHosts):
    """`Fleet` for code without an event loop: the connections live in a thread of their own.

        with SyncFleet(hosts) as fleet:
            report = fleet.run("uptime")

    The arguments, and what is raised, are those of `Fleet`.
    """

    def __init__(
        self,
        hosts: str | Target | Iterable[str | Target],
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
        plan = checked_plan(
            hosts, user=user, ssh=ssh, fanout=fanout, connect_timeout=connect_timeout, idle_timeout=idle_timeout,
            max_age=max_age, sessions=sessions, retries=retries,
        )  # fmt: skip
        super().__init__(_Home(plan), plan.targets)

    def __enter__(self) -> Self:
        engine = self._home.enter(here=False)
        try:
            self._home.wait_for(self._home.begin(engine.open), stop=engine.stop_opening)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        try:
            self._home.wait_for(self._home.begin(self._engine.close), stop=_nothing)
        finally:
            self._home.leave()


class _Outcomes:
    """A run's outcomes, gathered in whatever thread they come and read when the run is over."""

    def __init__(self) -> None:
        self._found: dict[Target, Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        self._found[outcome.target] = outcome

    def report(self, mine: Iterable[Target]) -> Report:
        return Report(tuple(self._found[target] for target in mine), finished_at=time.time())


def _nothing() -> None:
    pass
