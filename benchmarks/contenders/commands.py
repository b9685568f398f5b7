"""Commands over open connections in a plain service: as many a second as possible, and at a given rate."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.library import asyncssh_connection
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.heartbeat import Heartbeat, Turns
from benchmarks.harness.usage import Usage
from sshfan_async import Fleet, Ssh

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.harness.measure import Figures
    from sshfan_async import Report

__all__ = ["asyncssh_latency_run", "asyncssh_run", "fleet_latency_run", "fleet_run", "open_loop"]

_SOON = 0.05
"""Seconds from the call to the planned start of the first command."""


def fleet_run(task: dict[str, Any], rounds: int, *, beat: bool = False) -> Figures:
    """Measure a `Fleet` with default settings, the command on all hosts `rounds` times; `masters`: its ssh's CPU."""

    async def main() -> Figures:
        async with _fleet(task) as fleet:
            _check(await fleet.run(task["command"]))
            masters = _children()
            before = sum(map(_processor_time, masters))

            async def everywhere() -> None:
                _check(await fleet.run(task["command"]))

            figures = await _repeated(everywhere, rounds, beat)
            return {**figures, "masters": sum(map(_processor_time, masters)) - before}

    return asyncio.run(main())


def asyncssh_run(task: dict[str, Any], rounds: int, *, beat: bool = False) -> Figures:
    """Measure asyncssh with the command on all hosts `rounds` times."""

    async def main() -> Figures:
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(asyncssh_connection(task)) for _ in task["hosts"]]

            async def everywhere() -> None:
                await asyncio.gather(*(each.run(task["command"], encoding=None, check=True) for each in connections))

            await everywhere()
            return await _repeated(everywhere, rounds, beat)

    return asyncio.run(main())


def fleet_latency_run(task: dict[str, Any], rate: float, count: int) -> Figures:
    """Measure the latencies of `count` commands of a `Fleet`, `rate` a second, on one host each, in turns."""

    async def main() -> Figures:
        async with _fleet(task) as fleet:
            _check(await fleet.run(task["command"]))
            parts = [fleet.hosts(host) for host in task["hosts"]]

            async def call(number: int) -> None:
                _check(await parts[number % len(parts)].run(task["command"]))

            return await open_loop(call, rate, count)

    return asyncio.run(main())


def asyncssh_latency_run(task: dict[str, Any], rate: float, count: int) -> Figures:
    """Measure the latencies of `count` commands of asyncssh, `rate` a second, on one host each, in turns."""

    async def main() -> Figures:
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(asyncssh_connection(task)) for _ in task["hosts"]]
            await asyncio.gather(*(each.run(task["command"], check=True) for each in connections))

            async def call(number: int) -> None:
                connection = connections[number % len(connections)]
                await connection.run(task["command"], encoding=None, check=True)

            return await open_loop(call, rate, count)

    return asyncio.run(main())


def _fleet(task: dict[str, Any]) -> Fleet:
    return Fleet(task["hosts"], ssh=Ssh(config_file=task["config"]), fanout=task["fanout"])


def _check(report: Report) -> None:
    if not report.ok:
        raise RunFailed(report.not_ok[0].reason)


async def _repeated(everywhere: Callable[[], Awaitable[None]], rounds: int, beat: bool) -> Figures:
    heart, turns = Heartbeat(), Turns()
    if beat:
        heart.start()
        turns.start()
    with Usage() as usage:
        for _ in range(rounds):
            await everywhere()
    if not beat:
        return usage.figures
    heart.stop()
    turns.stop()
    return {**usage.figures, "longest": heart.longest, "turn": turns.longest}


async def open_loop(call: Callable[[int], Awaitable[None]], rate: float, count: int) -> Figures:
    """Call `call` at fixed times, whether the calls before have ended or not. A latency begins at that time."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []

    async def one(number: int, due: float) -> None:
        await call(number)
        latencies.append(loop.time() - due)

    first = loop.time() + _SOON
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due = first + number / rate
            if (early := due - loop.time()) > 0:
                await asyncio.sleep(early)
            group.create_task(one(number, due))
    latencies.sort()
    return {"median": latencies[count // 2], "p99": latencies[max(0, -(-count * 99 // 100) - 1)]}


def _children() -> list[Path]:
    """Return the directories in /proc of this process's children (proc(5): the fourth field of stat)."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            if int(fields[1]) == os.getpid():
                found.append(directory)
    return found


def _processor_time(process: Path) -> float:
    """Return the seconds that a process has run: the first field of schedstat in nanoseconds. stat has ticks only."""
    return int((process / "schedstat").read_text().split()[0]) / 1e9
