"""`fan_out` and asyncssh in a plain service: `asyncio.run(main())` in a fresh interpreter, after a warm-up."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.library import asyncssh_connection
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.heartbeat import Heartbeat, Turns
from benchmarks.harness.usage import Usage
from sshfan_async import Ssh, fan_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.measure import Figures

__all__ = ["asyncssh_run", "fan_out_run", "idle_run"]


def fan_out_run(
    hosts: list[str] | int, fanout: int, ssh: dict[str, Any], *, on_stop: Any = None, beat: bool = False
) -> Figures:
    """Measure `fan_out` with `true`, with its default settings unless `on_stop` is given.

    `hosts`: names, or their number. `ssh`: the arguments of `Ssh`.
    """
    names = [f"node{number:06}" for number in range(hosts)] if isinstance(hosts, int) else hosts
    options: dict[str, Any] = {"ssh": Ssh(**ssh)} | ({} if on_stop is None else {"on_stop": on_stop})

    async def main() -> Figures:
        await fan_out(names[:1], "true", **options)
        with _heartbeat(beat) as stalls, Usage() as usage:
            report = await fan_out(names, "true", fanout=fanout, **options)
        if not report.ok:
            raise RunFailed(report.not_ok[0].reason)
        return {**usage.figures, **stalls}

    return asyncio.run(main())


def asyncssh_run(task: dict[str, Any]) -> Figures:
    """Measure asyncssh with one new connection a host."""

    async def one(slots: asyncio.Semaphore) -> None:
        async with slots, asyncssh_connection(task) as connection:
            await connection.run(task["command"], encoding=None, check=True)

    async def main() -> Figures:
        slots = asyncio.Semaphore(task["fanout"])
        await one(slots)
        with Usage() as usage:
            await asyncio.gather(*(one(slots) for _ in task["hosts"]))
        return usage.figures

    return asyncio.run(main())


def idle_run(argv: list[str], given: str) -> Figures:
    """Measure an idle loop while another program does the work: the stalls that the machine itself causes."""

    async def main() -> Figures:
        program = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE)
        with _heartbeat(True) as stalls:
            await program.communicate(given.encode())
        if program.returncode != 0:
            raise RunFailed(f"{argv[0]}: exit code {program.returncode}")
        return stalls

    return asyncio.run(main())


@contextmanager
def _heartbeat(beat: bool) -> Iterator[Figures]:
    """Yield the figures of the stalls in the block, which are complete at its end; none if `beat` is False."""
    figures: Figures = {}
    if not beat:
        yield figures
        return
    heart, turns = Heartbeat(), Turns()
    heart.start()
    turns.start()
    yield figures
    heart.stop()
    turns.stop()
    figures |= {
        "longest": heart.longest,
        "p99": heart.p99,
        "collecting": heart.collecting,
        "turn": turns.longest,
    }
