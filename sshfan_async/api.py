"""The async functions of the public API: `fan_out`, `stream` and `events`."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Literal, TypeVar, Unpack

from sshfan_async.engine.run import Run, check_names, check_run
from sshfan_async.settings import RunOptions, Ssh
from sshfan_async.targets import finish

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Generator

    import anyio

    from sshfan_async.event import Event
    from sshfan_async.outcome import Outcome
    from sshfan_async.report import Report
    from sshfan_async.settings import Command, Input
    from sshfan_async.targets import Hosts

__all__ = ["events", "fan_out", "stream"]

T = TypeVar("T")

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

    A host that fails raises nothing: the failure is that host's outcome. If the calling task is cancelled, all child
    processes are ended and reaped before the cancellation continues.

    Args:
        hosts: a host name (`"web1"`, `"ops@web1:2222"`), a `Target`, or an iterable of them. Names are not expanded:
            use `nodes()` for a node set such as `web[1-20]`.
        command: text, which the remote shell gets unchanged, or a sequence of arguments, which are quoted for it.
        user: the remote user for targets that name none; None leaves it to ssh.
        fanout: the maximum number of targets in flight at once, None for all, or an `anyio.CapacityLimiter` that
            several runs share. If the limit on open files (`ulimit -n`) is too low for the number, a lower one is
            used, and a warning is logged.
        timeout: seconds for the command on one host, from when it is sent until it ends; None for no limit.
        connect_timeout: seconds for one attempt, from the launch of ssh until the command is sent; None for no limit.
        deadline: seconds for the whole run; None for no limit.
        kill_after: seconds between TERM and KILL, when ssh or the remote command is ended.
        retries: the maximum number of further attempts per target. A target is tried again only if the command was
            provably not sent and the failure can be temporary.
        stdin: the standard input of the command on each host: bytes, text (sent as UTF-8), or a binary file, read
            from its current position to its end. None for empty input.
        on_stop: what happens to the remote command on a timeout, on the deadline or on cancellation. `"kill"` ends
            it. `"always"` also ends it if the connection is lost or this process dies. `"leave"` lets it run, and
            sends it byte for byte.
        max_output: bytes to keep of a host's stdout, and as many of its stderr; None for all. Further bytes are
            read, counted and discarded.
        ssh: the ssh program, configuration file and options.

    Raises:
        InvalidTarget: a host or `user` cannot be used. Nothing has been started.
        InvalidSetting: another argument cannot be used. Nothing has been started.
        RuntimeError: no asyncio event loop is running.

    """
    checking = check_run(
        hosts, command, user=user, fanout=fanout, timeout=timeout, connect_timeout=connect_timeout, deadline=deadline,
        kill_after=kill_after, retries=retries, stdin=stdin, on_stop=on_stop, max_output=max_output, ssh=ssh,
    )  # fmt: skip
    del hosts  # it may be a long list of `Target`s that nobody else holds, which every garbage collection would visit
    run = await _in_turns(await _in_turns(checking))
    await _load_engine()
    from sshfan_async.engine.results import all_outcomes

    return await all_outcomes(run)


async def _in_turns(steps: Generator[None, None, T]) -> T:
    """Take each step of a check in a turn of the event loop of its own, and return the result.

    Raises:
        RuntimeError: no asyncio event loop is running, and there is more than one step.

    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        _running_loop()
        import asyncio

        await asyncio.sleep(0)


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("sshfan_async runs on asyncio: from trio, call run() in a thread") from None


async def _load_engine() -> None:
    """Import the engine on first use, in a thread: the import takes 60 ms, too long for the event loop.

    Raises:
        RuntimeError: no asyncio event loop is running.

    """
    from concurrent.futures import ThreadPoolExecutor

    loop = _running_loop()
    if _ENGINE not in sys.modules:
        # Not the loop's executor: if no thread can be started, closing the loop would fail too.
        executor = ThreadPoolExecutor(1, "sshfan import")
        try:
            await loop.run_in_executor(executor, import_module, _ENGINE)
        except RuntimeError:  # no thread can be started
            import_module(_ENGINE)
        finally:
            executor.shutdown(wait=False)


def stream(
    hosts: Hosts, command: Command, **options: Unpack[RunOptions]
) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
    """Run `command` on all `hosts` and yield each outcome when its host has ended.

        async with stream(hosts, "uptime") as outcomes:
            async for outcome in outcomes:
                ...

    Leaving the block early ends the hosts that are still running. A slow consumer does not slow the hosts down. The
    arguments and the errors raised are those of `fan_out`.
    """
    check_names("stream", options, RunOptions)
    steps = finish(check_run(hosts, command, **options))
    return _stream_outcomes(steps)


@asynccontextmanager
async def _stream_outcomes(steps: Generator[None, None, Run]) -> AsyncIterator[AsyncIterator[Outcome]]:
    run = await _in_turns(steps)
    await _load_engine()
    from sshfan_async.engine.results import stream_outcomes

    async with stream_outcomes(run) as outcomes:
        yield outcomes


def events(
    hosts: Hosts, command: Command, **options: Unpack[RunOptions]
) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
    """Run `command` on all `hosts` and yield events: `HostStarted`, `HostPhase`, `HostOutput`, `HostFinished`.

        async with events(hosts, "make") as received:
            async for event in received:
                ...

    `HostFinished` is the last event of a host and has its outcome. If the consumer is slow, the hosts' output is
    paused, and `timeout` and `deadline` are paused with it. The outcomes keep the output too, unless `max_output=0`.
    Leaving the block early ends the hosts that are still running. The arguments and the errors raised are those of
    `fan_out`.
    """
    check_names("events", options, RunOptions)
    steps = finish(check_run(hosts, command, **options))
    return _stream_events(steps)


@asynccontextmanager
async def _stream_events(steps: Generator[None, None, Run]) -> AsyncIterator[AsyncIterator[Event]]:
    run = await _in_turns(steps)
    await _load_engine()
    from sshfan_async.engine.results import stream_events

    async with stream_events(run) as events:
        yield events
