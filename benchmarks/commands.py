"""What do commands over open connections cost? `Fleet` with default settings and asyncssh; hosts cost nothing."""

from __future__ import annotations

import importlib.util
import statistics
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.task import Task
from benchmarks.harness.cpus import Cpus
from benchmarks.harness.measure import Options, column, interleave, over, worker
from benchmarks.server.fleet import InstantFleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.measure import Figures
    from benchmarks.harness.results import Result

__all__ = ["run"]

_FANOUT = 64
_COMMANDS = 4_000
"""The number of commands of one run, on all hosts together."""
_LATENCIES = 4_000
_MS = 1000.0
_BEAT = ", with a heartbeat"


def run(options: Options, result: Result) -> None:
    library = importlib.util.find_spec("asyncssh") is not None
    if not library:
        result.missing("asyncssh", "asyncssh (pip)")
    sizes = (3,) if options.quick else (20, 50, 100)
    cpus = Cpus.choose()
    for hosts in sizes if options.hosts is None else (options.hosts,):
        with InstantFleet(hosts, cpu=cpus.server) as fleet:
            task = asdict(Task.on(fleet, "true", _FANOUT))
            rates = _rates(options, result, task, cpus.client, library=library)
            if rates:
                _latencies(options, result, task, cpus.client, statistics.median(rates) / 2)


def _rates(options: Options, result: Result, task: dict[str, Any], cpu: int, *, library: bool) -> list[float]:
    """Measure commands/s, and return those of asyncssh."""
    hosts = len(task["hosts"])
    rounds = 2 if options.quick else max(1, _COMMANDS // hosts)
    count = hosts * rounds
    contenders: dict[str, Callable[[], Figures]] = {}
    for python in options.pythons:
        ours = partial(worker, "commands-fleet", python=python, cpu=cpu, task=task, rounds=rounds)
        contenders |= {f"Fleet, {python}": ours, f"Fleet, {python}{_BEAT}": partial(ours, beat=True)}
    if library:
        theirs = partial(worker, "commands-asyncssh", cpu=cpu, task=task, rounds=rounds)
        contenders |= {"asyncssh": theirs, f"asyncssh{_BEAT}": partial(theirs, beat=True)}
    about = f"{hosts} connections"
    series = interleave(contenders, options, f"commands, {about}, {rounds} rounds")
    for python in options.pythons:
        runs = series[f"Fleet, {python}"]
        if library:
            ratios = over(series["asyncssh"], runs, "wall")
            result.add(f"{about}: commands/s, Fleet / asyncssh, {python}", ratios, at_least=2.2)
        own = column(runs, "own", _MS / count)
        result.add(f"{about}: our CPU per command, {python}", own, "ms", at_most=0.07)
        both = [_MS * (each["own"] + each["masters"]) / count for each in runs]
        result.add(f"{about}: our CPU per command with the masters', {python}", both, "ms")
    for name, runs in series.items():
        if name.endswith(_BEAT):
            who, bar = name.removesuffix(_BEAT), 10.0 if name.startswith("Fleet") else None
            result.add(f"{about}: longest stall, {who}", column(runs, "longest", _MS), "ms", at_most=bar)
            result.add(f"{about}: most CPU of its thread between two beats, {who}", column(runs, "turn", _MS), "ms")
        else:
            result.add(f"{about}: commands/s, {name}", [count / wall for wall in column(runs, "wall")], "/s")
    if not library:
        return []
    result.add(f"{about}: CPU per command, asyncssh", column(series["asyncssh"], "own", _MS / count), "ms")
    return [count / wall for wall in column(series["asyncssh"], "wall")]


def _latencies(options: Options, result: Result, task: dict[str, Any], cpu: int, rate: float) -> None:
    """Start `rate` commands a second, each on one host, and measure how long each takes.

    A latency begins at the planned start of the command, even if the command starts later.
    """
    given: dict[str, Any] = {"task": task, "rate": rate, "count": 30 if options.quick else _LATENCIES}
    contenders: dict[str, Callable[[], Figures]] = {
        f"Fleet, {python}": partial(worker, "commands-fleet-latency", python=python, cpu=cpu, **given)
        for python in options.pythons
    }
    contenders["asyncssh"] = partial(worker, "commands-asyncssh-latency", cpu=cpu, **given)
    about = f"{len(task['hosts'])} connections, half of asyncssh's commands/s"
    series = interleave(contenders, options, f"commands, {about}")
    for python in options.pythons:
        ratios = over(series[f"Fleet, {python}"], series["asyncssh"], "p99")
        result.add(f"{about}: p99 latency, Fleet / asyncssh, {python}", ratios, at_most=1)
    result.add(f"{about}: offered commands/s", [rate], "/s")
    for name, runs in series.items():
        result.add(f"{about}: p99 latency, {name}", column(runs, "p99", _MS), "ms")
        result.add(f"{about}: median latency, {name}", column(runs, "median", _MS), "ms")
