"""`fan_out`, a plain gather and an idle loop, with a stand-in for ssh."""

from __future__ import annotations

import asyncio
import gc
import math
import resource
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.loop import in_loop, standard_loop
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.heartbeat import Heartbeat, resident
from sshfan_async import Ssh, fan_out
from sshfan_async.process.child import DESCRIPTORS
from sshfan_async.process.descriptors import BUDGET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.harness.measure import Figures
    from sshfan_async import Report

__all__ = ["fan_out_run", "gather_run", "idle_run"]


def fan_out_run(
    program: str,
    hosts: int,
    fanout: int | None,
    *,
    beat: bool = False,
    trace: bool = False,
    loop: str = "asyncio",
    resident_bytes: int = 0,
) -> Figures:
    """Measure `fan_out` over `hosts` stand-ins."""
    names = _names(hosts)
    ballast = [b"x" * 65_536 for _ in range(resident_bytes // 65_536)]

    async def run() -> Figures:
        await fan_out("warm", "true", ssh=Ssh(program="/bin/true"))
        figures, report = await _measured(
            lambda: fan_out(names, "true", fanout=fanout, ssh=Ssh(program=program)), beat=beat, trace=trace
        )
        if not report.ok:
            raise RunFailed(report.not_ok[0].reason)
        return {
            **figures,
            "in_flight": _in_flight(report),
            "possible": BUDGET.room() // DESCRIPTORS,
            "errors": _stamp_errors(report),
        }

    figures = in_loop(run, loop)
    del ballast
    return figures


def gather_run(program: str, hosts: int, fanout: int | None, *, beat: bool = False) -> Figures:
    """Measure plain asyncio: a gather, with a semaphore for the fanout."""
    names = _names(hosts)

    async def one(name: str, slots: asyncio.Semaphore) -> int:
        async with slots:
            process = await asyncio.create_subprocess_exec(
                program,
                name,
                "true",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            await process.communicate()
            code = process.returncode
            assert code is not None
            return code

    async def everything() -> None:
        slots = asyncio.Semaphore(hosts if fanout is None else fanout)
        codes = await asyncio.gather(*(one(name, slots) for name in names))
        if any(codes):
            raise RunFailed(f"exit codes {set(codes)}")

    async def run() -> Figures:
        await one("warm", asyncio.Semaphore(1)) if program == "/bin/true" else None
        figures, _ = await _measured(everything, beat=beat)
        return figures

    return standard_loop(run)


def idle_run(hosts: int, fanout: int) -> Figures:
    """Measure an idle loop while xargs spawns the children: stalls that the machine itself causes."""

    async def beside_xargs() -> None:
        xargs = await asyncio.create_subprocess_exec(
            "xargs", "-n", "1", "-P", str(fanout), "/bin/true", stdin=asyncio.subprocess.PIPE
        )
        await xargs.communicate("\n".join(_names(hosts)).encode())

    async def run() -> Figures:
        figures, _ = await _measured(beside_xargs, beat=True)
        return figures

    return standard_loop(run)


def _names(hosts: int) -> list[str]:
    return [f"node{number:05}" for number in range(hosts)]


async def _measured(work: Callable[[], Awaitable[Any]], *, beat: bool, trace: bool = False) -> tuple[Figures, Any]:
    heart = Heartbeat() if beat else None
    gc.collect()
    if trace:
        tracemalloc.start()
    memory = 0 if trace else resident()
    before = resource.getrusage(resource.RUSAGE_SELF)
    if heart is not None:
        heart.start()
    began = time.perf_counter()
    value = await work()
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    figures: Figures = {
        "wall": wall,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }
    if heart is not None:
        heart.stop()
        figures |= {
            "longest": heart.longest,
            "p99": heart.p99,
            "collecting": heart.collecting,
            "memory": heart.peak - memory,
        }
    return figures, value


def _in_flight(report: Report) -> int:
    """Return the largest number of hosts that were in flight at once."""
    edges = [(outcome.started_at or 0.0, 1) for outcome in report]
    edges += [((outcome.started_at or 0.0) + outcome.elapsed, -1) for outcome in report]
    now = most = 0
    for _, step in sorted(edges):
        now += step
        most = max(most, now)
    return most


def _stamp_errors(report: Report) -> list[float]:
    """Return the seconds from the time that each stand-in prints last to the completion in its outcome."""
    return [
        (outcome.started_at or math.nan) + outcome.elapsed - float(outcome.stdout)
        for outcome in report
        if outcome.stdout
    ]
