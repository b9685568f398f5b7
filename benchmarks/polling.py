"""How does `run()` compare with the polling loop: wall, error of `delta_time`, CPU, deadlock?"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from benchmarks.harness.measure import Figures, Options, column, interleave, over, worker
from benchmarks.harness.results import Picture, Result
from sshfan_async.testing import SshdFleet

__all__ = ["run"]

_LIMIT = 120.0
_DEADLOCK_LIMIT = 4.0
_TIME = "date +%s.%N"
_MS = 1000.0


def run(options: Options, result: Result) -> None:
    largest = options.size(300, 3)
    host_counts = [count for count in (1, 10, 100) if count < largest] if not options.quick else []
    sleeps = (0.0, 0.5) if options.quick else (0.0, 0.5, 3.0)
    sizes = (16, 65) if options.quick else (16, 64, 65, 1024)
    # A cheap key exchange, because this measures the waiting. Both sides connect in the same way.
    with SshdFleet(largest, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        config, names = str(fleet.ssh_config), list(fleet.hosts)
        for seconds in sleeps:
            walls: dict[str, list[tuple[float | str, float]]] = {}
            for hosts in (*host_counts, largest):
                for name, wall in _waiting(options, result, config, names[:hosts], seconds).items():
                    walls.setdefault(name, []).append((hosts, wall))
            result.pictures.append(
                Picture(
                    file=f"polling-sleep-{seconds:g}.png",
                    title=f"`sleep {seconds:g}`, all hosts at once: wall",
                    across="hosts",
                    up="seconds",
                    series=walls,
                )
            )
        for kib in sizes:
            _output(options, result, config, names[:1], kib)


def _waiting(options: Options, result: Result, config: str, hosts: list[str], seconds: float) -> dict[str, float]:
    about = f"{len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}, sleep {seconds:g}"
    series = _pair(options, f"polling, {about}", config, hosts, f"sleep {seconds:g}; {_TIME}", _LIMIT)
    ours, theirs = series["run()"], series["polling"]
    result.add(f"{about}: wall, polling / run()", over(theirs, ours, "wall"))
    for name, runs in series.items():
        result.add(f"{about}: wall, {name}", column(runs, "wall"), "s")
        result.add(f"{about}: largest error of delta_time, {name}", column(runs, "largest_error", _MS), "ms")
        result.add(f"{about}: median error of delta_time, {name}", column(runs, "median_error", _MS), "ms")
        result.add(f"{about}: CPU of its own process, {name}", column(runs, "own", _MS), "ms")
    return {name: statistics.median(column(runs, "wall")) for name, runs in series.items()}


def _output(options: Options, result: Result, config: str, hosts: list[str], kib: int) -> None:
    about = f"{kib:,} KiB of output"
    command = f"head -c {kib * 1024} /dev/zero | tr '\\0' '\\n'; {_TIME}"
    series = _pair(options, f"polling, {about}", config, hosts, command, _DEADLOCK_LIMIT)
    for name, runs in series.items():
        result.add(f"{about}: wall, {name}", column(runs, "wall"), "s")
        stuck = sum(figures["unfinished"] > 0 for figures in runs)
        if stuck > 0:
            result.notes.append(f"{about}: {name} did not finish in {stuck} of {len(runs)} runs and was stopped")


def _pair(
    options: Options, about: str, config: str, hosts: list[str], command: str, limit: float
) -> dict[str, list[Figures]]:
    given: dict[str, Any] = {"config": config, "hosts": hosts, "command": command, "limit": limit}
    contenders = {
        "run()": partial(worker, "run", **given),
        "polling": partial(worker, "polling-loop", **given),
    }
    return interleave(contenders, options, about)
