"""The async front door: `fan_out`, `stream` and `events`."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Unpack

from sshfan_async.engine.run import Run, check_names, checked_run
from sshfan_async.settings import RunOptions, Ssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import anyio

    from sshfan_async.event import Event
    from sshfan_async.outcome import Outcome
    from sshfan_async.report import Report
    from sshfan_async.settings import Command, Input
    from sshfan_async.targets import Hosts

__all__ = ["events", "fan_out", "stream"]

_ENGINE = "sshfan_async.engine.results"
_SSH = Ssh()


async def fan_out(
    hosts: Hosts,
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
        RuntimeError: the caller does not run on asyncio.

    """
    run = checked_run(
        hosts, command, user=user, fanout=fanout, timeout=timeout, connect_timeout=connect_timeout, deadline=deadline,
        kill_after=kill_after, retries=retries, stdin=stdin, on_stop=on_stop, max_output=max_output, ssh=ssh,
    )  # fmt: skip
    await _load_engine()
    from sshfan_async.engine.results import all_outcomes

    return await all_outcomes(run)


async def _load_engine() -> None:
    """Load what runs a run: when it is first needed, and not on the loop, since that takes 60 ms.

    Raises:
        RuntimeError: no loop of asyncio runs here.

    """
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("sshfan_async runs on asyncio: from trio, call run() in a thread") from None
    if _ENGINE not in sys.modules:
        await asyncio.to_thread(import_module, _ENGINE)


def stream(
    hosts: Hosts, command: Command, **options: Unpack[RunOptions]
) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
    """Run `command` on all `hosts` and give each outcome as soon as it is there.

        async with stream(hosts, "uptime") as outcomes:
            async for outcome in outcomes:
                ...

    Leaving the block early ends the hosts that still run. A slow consumer holds nobody back. The arguments, and what
    is raised, are those of `fan_out`.
    """
    check_names("stream", options, RunOptions)
    run = checked_run(hosts, command, **options)
    return _outcomes(run)


@asynccontextmanager
async def _outcomes(run: Run) -> AsyncIterator[AsyncIterator[Outcome]]:
    await _load_engine()
    from sshfan_async.engine.results import outcomes

    async with outcomes(run) as delivered:
        yield delivered


def events(
    hosts: Hosts, command: Command, **options: Unpack[RunOptions]
) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
    """Run `command` on all `hosts` and give what happens as it happens: `HostStarted`, `HostPhase`, `HostOutput`.

        async with events(hosts, "make") as happenings:
            async for event in happenings:
                ...

    `HostFinished`, with the outcome, is the last event about a host. A slow consumer holds the hosts' output back;
    `timeout` and `deadline` stand still meanwhile. The outcomes keep the output too: `max_output=0` spares that.
    Leaving the block early ends the hosts that still run. The arguments, and what is raised, are those of `fan_out`.
    """
    check_names("events", options, RunOptions)
    run = checked_run(hosts, command, **options)
    return _happenings(run)


@asynccontextmanager
async def _happenings(run: Run) -> AsyncIterator[AsyncIterator[Event]]:
    await _load_engine()
    from sshfan_async.engine.results import happenings

    async with happenings(run) as delivered:
        yield delivered
