"""What do hosts cost that are all in flight at once: stalls of the event loop, memory, errors of recorded times?"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.harness.measure import Figures, Options, column, interleave, worker
from benchmarks.harness.results import Picture, Result
from benchmarks.harness.stalls import add_context

__all__ = ["run"]

_FANOUT = 64
_RESIDENT = 500 * 1024 * 1024
_MS = 1000.0
_KIB = 1 / 1024

# The engine first asks a client for its version with -V.
_SLEEPER = '#!/bin/sh\n[ "$1" = -V ] || exec sleep {seconds}\n'
_CLOCK = '#!/bin/sh\n[ "$1" = -V ] || {{ sleep {seconds}; exec date +%s.%N; }}\n'


def run(options: Options, result: Result) -> None:
    with tempfile.TemporaryDirectory(prefix="sshfan-benchmark-") as directory:
        _in_flight(options, result, Path(directory))
        _uvloop(options, result, Path(directory))
        _memory(options, result, Path(directory))
        _stamps(options, result, Path(directory))


def _in_flight(options: Options, result: Result, directory: Path) -> None:
    bars: dict[int, float | None] = {250: None, 1000: 15.0, 4000: 50.0}
    if options.quick or options.hosts is not None:
        bars = {options.size(1000, 30): 15.0}
    stalls: dict[str, list[tuple[float | str, float]]] = {}
    for hosts, bar in bars.items():
        for name, longest in _all_in_flight(options, result, hosts, bar, directory).items():
            stalls.setdefault(name, []).append((hosts, longest))
    result.pictures.append(
        Picture(
            file="stalls.png",
            title="Longest stall of the event loop, all hosts in flight",
            across="hosts",
            up="milliseconds",
            series=stalls,
        )
    )


def _all_in_flight(
    options: Options, result: Result, hosts: int, bar: float | None, directory: Path
) -> dict[str, float]:
    program = _sleeper(hosts, directory)
    contenders = {
        "fan_out": partial(worker, "engine-fan-out", program=program, hosts=hosts, fanout=None, beat=True),
        "plain gather": partial(worker, "engine-gather", program=program, hosts=hosts, fanout=None, beat=True),
    }
    series = interleave(contenders, options, f"in-flight, {hosts:,} hosts in flight")
    about = f"{hosts:,} hosts all in flight"
    ours = series["fan_out"]
    result.add(f"longest stall, {about}: fan_out", column(ours, "longest", _MS), "ms", at_most=bar)
    result.add(f"resident memory per host, {about}", column(ours, "memory", _KIB / hosts), "KiB", at_most=8)
    add_context(result, series, about)
    result.add(f"our CPU per host, {about}", column(ours, "cpu", _MS / hosts), "ms")
    _note_in_flight(result, ours, hosts, about)
    return {name: statistics.median(column(runs, "longest", _MS)) for name, runs in series.items()}


def _uvloop(options: Options, result: Result, directory: Path) -> None:
    if importlib.util.find_spec("uvloop") is None:
        result.missing("uvloop", "uvloop (pip)")
        return
    hosts = options.size(1000, 30)
    program = _sleeper(hosts, directory)
    memory = _RESIDENT // 100 if options.quick else _RESIDENT
    run_ours = partial(
        worker,
        "engine-fan-out",
        program=program,
        hosts=hosts,
        fanout=None,
        beat=True,
        loop="uvloop",
        resident_bytes=memory,
    )
    series = interleave({"fan_out": run_ours}, options, "in-flight, uvloop")
    about = f"{hosts:,} hosts all in flight, caller on uvloop with {memory >> 20} MiB"
    result.add(f"longest stall, {about}", column(series["fan_out"], "longest", _MS), "ms", at_most=15)
    result.add(f"p99 stall, {about}", column(series["fan_out"], "p99", _MS), "ms")
    _note_in_flight(result, series["fan_out"], hosts, about)


def _memory(options: Options, result: Result, directory: Path) -> None:
    hosts = options.size(1000, 30)
    program = _sleeper(hosts, directory)
    traced = partial(worker, "engine-fan-out", program=program, hosts=hosts, fanout=None, beat=True, trace=True)
    series = interleave({"fan_out under tracemalloc": traced}, options, "in-flight, memory")[
        "fan_out under tracemalloc"
    ]
    about = f"{hosts:,} hosts all in flight"
    result.add(f"traced memory per host, {about}", column(series, "memory", _KIB / hosts), "KiB", at_most=8)


def _stamps(options: Options, result: Result, directory: Path) -> None:
    hosts = options.size(1000, 30)
    program = _script(directory, "clock", _CLOCK.format(seconds=0.2))
    measured = partial(worker, "engine-fan-out", program=program, hosts=hosts, fanout=_FANOUT)
    series = interleave({"fan_out": measured}, options, "in-flight, stamps")["fan_out"]
    errors = [sorted(figures["errors"]) for figures in series]
    about = f"recorded time of completion, {hosts:,} hosts, fanout {_FANOUT}"
    result.add(f"{about}: p99 error", [_MS * each[len(each) * 99 // 100] for each in errors], "ms", at_most=5)
    result.add(f"{about}: median error", [_MS * each[len(each) // 2] for each in errors], "ms")


def _note_in_flight(result: Result, series: list[Figures], hosts: int, about: str) -> None:
    possible = min(figures["possible"] for figures in series)
    if possible < hosts:
        result.notes.append(f"{about}: the limit on open files (ulimit -n) lowered the fanout to {possible:,}")
    least = min(figures["in_flight"] for figures in series)
    if least < min(hosts, possible):
        result.notes.append(
            f"{about}: only {least:,} hosts were in flight at once: the first ended before the last was started"
        )


def _sleeper(hosts: int, directory: Path) -> str:
    """Return a stand-in that sleeps until all `hosts` are started, even on a slow machine."""
    return _script(directory, f"sleeper-{hosts}", _SLEEPER.format(seconds=1 + hosts * 0.008))


def _script(directory: Path, name: str, text: str) -> str:
    path = directory / name
    if not path.exists():
        path.write_text(text)
        path.chmod(0o755)
    return str(path)
