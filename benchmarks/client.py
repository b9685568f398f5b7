"""What does the client cost? `true` over new connections to 200 hosts that cost nothing, from a CPU of its own."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders.peers import xargs
from benchmarks.contenders.task import Task
from benchmarks.harness.cpus import Cpus
from benchmarks.harness.measure import Options, column, command, interleave, over, worker
from benchmarks.server.fleet import InstantFleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.measure import Figures
    from benchmarks.harness.pythons import Python
    from benchmarks.harness.results import Result

__all__ = ["run"]

_FANOUT = 32
_MS = 1000.0
_BEAT = ", with a heartbeat"


def run(options: Options, result: Result) -> None:
    hosts = options.size(200, 3)
    cpus = Cpus.choose()
    about = f"{hosts} hosts that cost nothing"
    with InstantFleet(hosts, cpu=cpus.server) as fleet:
        contenders = _contenders(Task.on(fleet, "true", _FANOUT), cpus.client, options, result)
        series = interleave(contenders, options, f"client, {about}")
    theirs = series["xargs"]
    for python in options.pythons:
        ours, left, beaten = (series[f"{python}{kind}"] for kind in ("", ", leave", _BEAT))
        result.add(f"{about}: wall, fan_out / xargs, {python}", over(ours, theirs, "wall"), at_most=1.08)
        result.add(f"{about}: wall, fan_out with on_stop=leave / xargs, {python}", over(left, theirs, "wall"))
        result.add(
            f"{about}: our CPU per host, {python}", column(ours, "own", _MS / hosts), "ms", at_most=_own_bar(python)
        )
        result.add(f"{about}: longest stall, {python}", column(beaten, "longest", _MS), "ms", at_most=10)
    if "asyncssh" in series:
        result.add(f"{about}: wall, asyncssh / xargs", over(series["asyncssh"], theirs, "wall"))
        result.add(f"{about}: CPU per host, asyncssh", column(series["asyncssh"], "own", _MS / hosts), "ms")
    for python in options.pythons:
        turns = column(series[f"{python}{_BEAT}"], "turn", _MS)
        result.add(f"{about}: most CPU of our thread between two beats, {python}", turns, "ms")
    result.add(f"{about}: longest stall, an idle loop beside xargs", column(series["idle"], "longest", _MS), "ms")
    result.add(f"{about}: wall, xargs", column(theirs, "wall"), "s")
    result.add(f"{about}: wall per host, xargs", column(theirs, "wall", _MS / hosts), "ms")
    result.add(f"{about}: CPU per host with ssh's, xargs", column(theirs, "cpu", _MS / hosts), "ms")
    for python in options.pythons:
        for kind in ("", ", leave"):
            runs = series[f"{python}{kind}"]
            what = f"fan_out{' with on_stop=leave' if kind else ''}, {python}"
            result.add(f"{about}: wall, {what}", column(runs, "wall"), "s")
            result.add(f"{about}: our CPU per host, {what}", column(runs, "own", _MS / hosts), "ms")
            children = [_MS * (each["cpu"] - each["own"]) / hosts for each in runs]
            result.add(f"{about}: CPU of ssh per host, {what}", children, "ms")


def _contenders(task: Task, cpu: int, options: Options, result: Result) -> dict[str, Callable[[], Figures]]:
    names = "\n".join(task.hosts)
    found: dict[str, Callable[[], Figures]] = {"xargs": partial(command, xargs(task), given=names, cpu=cpu)}
    for python in options.pythons:
        ours = partial(
            worker,
            "service-fan-out",
            python=python,
            cpu=cpu,
            hosts=task.hosts,
            fanout=task.fanout,
            ssh={"config_file": task.config},
        )
        found[str(python)] = ours
        found[f"{python}, leave"] = partial(ours, on_stop="leave")
        found[f"{python}{_BEAT}"] = partial(ours, beat=True)
    if importlib.util.find_spec("asyncssh") is None:
        result.missing("asyncssh", "asyncssh (pip)")
    else:
        found["asyncssh"] = partial(worker, "service-asyncssh", cpu=cpu, task=asdict(task))
    found["idle"] = partial(worker, "service-idle", cpu=cpu, argv=xargs(task), given=names)
    return found


def _own_bar(python: Python) -> float:
    return 0.75 if python.version >= (3, 13) else 0.85
