"""The async front door: `fan_out`, `stream` and `events`."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import anyio

from sshfan_async.errors import InvalidSetting
from sshfan_async.events import Event, HostFinished, HostOutput
from sshfan_async.outcome import Outcome
from sshfan_async.report import Report
from sshfan_async.settings import Clocks, Limits, OnStop, Run, Ssh, command_text
from sshfan_async.stdin import check_input
from sshfan_async.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from sshfan_async.running import Running
    from sshfan_async.settings import Command
    from sshfan_async.stdin import Input

__all__ = ["checked_run", "events", "fan_out", "stream"]

_SSH = Ssh()


async def fan_out(
    hosts: str | Target | Iterable[str | Target],
    command: Command,
    *,
    user: str | None = None,
    fanout: int | anyio.CapacityLimiter | None = 64,
    timeout: float | None = None,
    connect_timeout: float | None = 30.0,
    deadline: float | None = None,
    kill_after: float = 10.0,
    retries: int = 2,
    stdin: Input | None = None,
    on_stop: Literal["leave", "kill", "always"] = "kill",
    max_output: int | None = None,
    ssh: Ssh = _SSH,
) -> Report:
    """Run `command` on all `hosts` and return a report with exactly one outcome for each.

    What happens to a host never raises: it is that host's outcome. When the calling task is cancelled, all children
    are ended and reaped before the cancellation goes on.

    Args:
        hosts: a literal name (`"web1"`, `"ops@web1:2222"`), a `Target`, or an iterable of them. A node set such as
            `web[1-20]` must be expanded with `nodes()`.
        command: text for the remote shell as it is, or a sequence of arguments that is quoted for it.
        user: the remote user of those targets that name none.
        fanout: how many targets are in flight at once, None for all; or a limiter that several runs share. It is
            lowered, and a warning logged, where the limit on open files leaves no room.
        timeout: seconds from the moment the command is sent to its end, per attempt.
        connect_timeout: seconds from an attempt's launch until the command is sent.
        deadline: seconds for the whole run.
        kill_after: seconds between TERM and KILL when a child is ended.
        retries: how often a target is tried again whose command was provably not sent, where the cause can pass.
        stdin: what each host gets on its standard input; nothing by default. A file is read from its position on.
        on_stop: what happens to the remote command when our side stops waiting for it.
        max_output: bytes kept of each of a host's two outputs.
        ssh: the program, configuration file and options to use.

    Raises:
        InvalidTarget: a host, or `user`, cannot be used. Nothing has been started.
        InvalidSetting: another argument cannot be used. Nothing has been started.

    """
    run = checked_run(
        hosts, command, user=user, fanout=fanout, timeout=timeout, connect_timeout=connect_timeout, deadline=deadline,
        kill_after=kill_after, retries=retries, stdin=stdin, on_stop=on_stop, max_output=max_output, ssh=ssh,
    )  # fmt: skip
    outcomes: dict[Target, Outcome] = {}

    def emit(event: Event) -> None:
        if isinstance(event, HostFinished):
            outcomes[event.outcome.target] = event.outcome

    async with (await _engine())(run, emit) as running:
        await running.finished()
    return Report(tuple(outcomes[target] for target in run.targets), finished_at=time.time())


async def _engine() -> type[Running]:
    """Return what runs a run. It is loaded when first needed, and not on the loop: that takes 50 ms."""
    if "sshfan_async.running" not in sys.modules:
        await anyio.to_thread.run_sync(import_module, "sshfan_async.running")
    from sshfan_async.running import Running

    return Running


def stream(
    hosts: str | Target | Iterable[str | Target],
    command: Command,
    *,
    user: str | None = None,
    fanout: int | anyio.CapacityLimiter | None = 64,
    timeout: float | None = None,
    connect_timeout: float | None = 30.0,
    deadline: float | None = None,
    kill_after: float = 10.0,
    retries: int = 2,
    stdin: Input | None = None,
    on_stop: Literal["leave", "kill", "always"] = "kill",
    max_output: int | None = None,
    ssh: Ssh = _SSH,
) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
    """Run `command` on all `hosts` and give each outcome as soon as it is there.

        async with stream(hosts, "uptime") as outcomes:
            async for outcome in outcomes:
                ...

    Leaving the block early ends the hosts that still run. A slow consumer holds nobody back. The arguments, and what
    is raised, are those of `fan_out`.
    """
    run = checked_run(
        hosts, command, user=user, fanout=fanout, timeout=timeout, connect_timeout=connect_timeout, deadline=deadline,
        kill_after=kill_after, retries=retries, stdin=stdin, on_stop=on_stop, max_output=max_output, ssh=ssh,
    )  # fmt: skip
    return _stream(run)


@asynccontextmanager
async def _stream(run: Run) -> AsyncIterator[AsyncIterator[Outcome]]:
    send, receive = anyio.create_memory_object_stream[Outcome](math.inf)

    def emit(event: Event) -> None:
        if isinstance(event, HostFinished):
            # The consumer may have closed its end, and stay in the block.
            with suppress(anyio.BrokenResourceError):
                send.send_nowait(event.outcome)

    with send, receive:
        async with (await _engine())(run, emit) as running:
            running.add_done_callback(send.close)
            yield receive


def events(
    hosts: str | Target | Iterable[str | Target],
    command: Command,
    *,
    user: str | None = None,
    fanout: int | anyio.CapacityLimiter | None = 64,
    timeout: float | None = None,
    connect_timeout: float | None = 30.0,
    deadline: float | None = None,
    kill_after: float = 10.0,
    retries: int = 2,
    stdin: Input | None = None,
    on_stop: Literal["leave", "kill", "always"] = "kill",
    max_output: int | None = None,
    ssh: Ssh = _SSH,
) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
    """Run `command` on all `hosts` and give what happens as it happens: `HostStarted`, `HostPhase`, `HostOutput`.

        async with events(hosts, "make") as happenings:
            async for event in happenings:
                ...

    `HostFinished`, with the outcome, is the last event about a host. A slow consumer holds the hosts' output back;
    `timeout` and `deadline` stand still meanwhile. The outcomes keep the output too: `max_output=0` spares that.
    Leaving the block early ends the hosts that still run. The arguments, and what is raised, are those of `fan_out`.
    """
    run = checked_run(
        hosts, command, user=user, fanout=fanout, timeout=timeout, connect_timeout=connect_timeout, deadline=deadline,
        kill_after=kill_after, retries=retries, stdin=stdin, on_stop=on_stop, max_output=max_output, ssh=ssh,
    )  # fmt: skip
    return _events(run)


@asynccontextmanager
async def _events(run: Run) -> AsyncIterator[AsyncIterator[Event]]:
    happenings = _Happenings()
    async with (await _engine())(run, happenings.add, followed=True) as running:
        happenings.follow(running)
        yield happenings


_FULL = 1024 * 1024
"""Bytes of output on their way to the consumer of `events` from which the hosts are held back."""


class _Happenings:
    """The events on their way to their consumer; at most about `_FULL` bytes of output."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._size = 0
        self._held = False
        self._ended = False
        self._arrived = anyio.Event()
        self._running: Running | None = None

    def follow(self, running: Running) -> None:
        self._running = running
        running.add_done_callback(self._end)

    def _end(self) -> None:
        self._ended = True
        self._arrived.set()

    def add(self, event: Event) -> None:
        self._events.append(event)
        self._arrived.set()
        if isinstance(event, HostOutput):
            self._size += len(event.data)
            if self._size > _FULL and not self._held and self._running is not None:
                self._held = True
                self._running.hold()

    def __aiter__(self) -> _Happenings:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._arrived = anyio.Event()
            await self._arrived.wait()
        event = self._events.popleft()
        if isinstance(event, HostOutput):
            self._size -= len(event.data)
            if self._held and self._size <= _FULL // 2 and self._running is not None:
                self._held = False
                self._running.release()
        return event


def checked_run(
    hosts: str | Target | Iterable[str | Target],
    command: Command,
    *,
    user: str | None = None,
    fanout: int | anyio.CapacityLimiter | None = 64,
    timeout: float | None = None,
    connect_timeout: float | None = 30.0,
    deadline: float | None = None,
    kill_after: float = 10.0,
    retries: int = 2,
    stdin: Input | None = None,
    on_stop: str = "kill",
    max_output: int | None = None,
    ssh: Ssh = _SSH,
) -> Run:
    """Return the run that the arguments of `fan_out` describe, checked.

    Raises:
        InvalidTarget: a host, or `user`, cannot be used.
        InvalidSetting: another argument cannot be used.

    """
    if not isinstance(ssh, Ssh):
        raise InvalidSetting(f"ssh={ssh!r}: give Ssh(program=..., config_file=..., options=...)")
    if on_stop not in tuple(OnStop):
        raise InvalidSetting(f"on_stop={on_stop!r}: give 'leave', 'kill' or 'always'")
    if user is not None:
        Target("any", user=user)  # refuses an impossible name here, once for all
    return Run(
        targets=targets(hosts),
        command=command_text(command),
        user=user,
        ssh=ssh,
        clocks=Clocks(connect_timeout=connect_timeout, timeout=timeout, deadline=deadline, kill_after=kill_after),
        limits=Limits(fanout=fanout, retries=retries, max_output=max_output),
        stdin=check_input(stdin),
        on_stop=OnStop(on_stop),
    )
