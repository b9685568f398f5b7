"""How fast are commands over open connections: `Fleet`, asyncssh, parallel-ssh, ControlMaster?"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.distance import distance
from benchmarks.contenders.task import Task
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.measure import Figures, Options, column, interleave, over, worker
from sshfan_async.testing import SshdFleet
from sshfan_async.testing.configuration import ADDRESS, Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.results import Result

__all__ = ["run"]

_FANOUT = 64
_ROUNDS = 20
_MS = 1000.0
_KIB = 1 / 1024
_BULK_HOSTS = 8
_BULK = 50_000_000
_IDLE = 10.0
_BESIDE: tuple[str, ...] = ("Fleet", "asyncssh", "ssh over ControlMaster")
"""The contenders of the distant hosts and of the bulk output."""
_FAR_HOSTS = 20
_ROUND_TRIP = 0.05
"""Seconds, as between neighbouring continents."""


def run(options: Options, result: Result) -> None:
    sizes = (3,) if options.quick else (20, 100, 300)
    for hosts in sizes if options.hosts is None else (options.hosts,):
        _commands(options, result, hosts)
    _far(options, result)
    _bulk(options, result)
    _idle(options, result)


def _commands(options: Options, result: Result, hosts: int) -> None:
    rounds = 2 if options.quick else _ROUNDS
    about = f"{hosts} hosts x {rounds} commands"
    with _server(hosts) as fleet:
        series = interleave(_contenders(Task.on(fleet, "true", _FANOUT), rounds, result), options, f"warm, {about}")
    ours, beaten, count = series["Fleet"], series.pop("Fleet with a heartbeat"), hosts * rounds
    bars = {"asyncssh": 1.35, "ssh over ControlMaster": 3.0}
    for name, runs in series.items():
        if name != "Fleet":
            result.add(f"{about}: commands/s, Fleet / {name}", over(runs, ours, "wall"), at_least=bars.get(name))
    if "asyncssh" in series:
        result.add(
            f"{about}: our CPU per command, Fleet / asyncssh", over(ours, series["asyncssh"], "own"), at_most=0.25
        )
    result.add(f"{about}: most CPU of our thread between two beats, Fleet", column(beaten, "turn", _MS), "ms")
    result.add(
        f"{about}: longest stall, servers and masters on the same CPUs, Fleet",
        column(beaten, "longest", _MS),
        "ms",
        at_most=10,
    )
    result.add(
        f"{about}: longest stall in the same time, an idle loop in another process",
        column(beaten, "idle", _MS),
        "ms",
    )
    for name, runs in series.items():
        result.add(f"{about}: commands/s, {name}", [count / wall for wall in column(runs, "wall")], "/s")
        result.add(f"{about}: CPU of its own process per command, {name}", column(runs, "own", _MS / count), "ms")


def _far(options: Options, result: Result) -> None:
    hosts, rounds = options.size(_FAR_HOSTS, 3), 2 if options.quick else _ROUNDS
    about = f"{hosts} hosts {_ROUND_TRIP * _MS:g} ms away x {rounds} commands"
    with _server(hosts) as fleet, distance(fleet.port, _ROUND_TRIP) as port:
        found = _contenders(_from_afar(Task.on(fleet, "true", _FANOUT), fleet, port), rounds, result)
        contenders = {name: found[name] for name in _BESIDE if name in found}
        series = interleave(contenders, options, f"warm, {about}")
    ours, count = series["Fleet"], hosts * rounds
    for name, runs in series.items():
        if name != "Fleet":
            result.add(f"{about}: commands/s, Fleet / {name}", over(runs, ours, "wall"))
    for name, runs in series.items():
        result.add(f"{about}: commands/s, {name}", [count / wall for wall in column(runs, "wall")], "/s")


def _from_afar(task: Task, fleet: SshdFleet, port: int) -> Task:
    """Return the task with its hosts behind `port`, and set that port in ssh_config too."""
    layout = Layout(fleet.directory)
    here = f"[{ADDRESS}]:{fleet.port}"
    for name in fleet.hosts:
        fleet.add_host(name, options={"Port": str(port), "HostKeyAlias": here})
    known_hosts = layout.directory / "known_hosts_from_afar"
    known_hosts.write_text(layout.known_hosts.read_text().replace(here, f"[{ADDRESS}]:{port}"))
    return replace(task, port=port, known_hosts=str(known_hosts))


def _bulk(options: Options, result: Result) -> None:
    size = 100_000 if options.quick else _BULK
    about = f"{_BULK_HOSTS} hosts x {size / 1e6:g} MB"
    with _server(_BULK_HOSTS) as fleet:
        found = _contenders(Task.on(fleet, f"head -c {size} /dev/zero", _FANOUT), 1, result)
        contenders = {name: found[name] for name in _BESIDE if name in found}
        series = interleave(contenders, options, f"warm, {about}")
    for name, runs in series.items():
        if any(figures["bytes"] != _BULK_HOSTS * size for figures in runs):
            raise RunFailed(f"{name} did not return all {_BULK_HOSTS * size:,} bytes")
    ours = series["Fleet"]
    if "asyncssh" in series:
        result.add(f"{about}: throughput, Fleet / asyncssh", over(series["asyncssh"], ours, "wall"), at_least=1.1)
        result.add(f"{about}: our CPU, Fleet / asyncssh", over(ours, series["asyncssh"], "own"), at_most=0.35)
    for name, runs in series.items():
        result.add(
            f"{about}: throughput, {name}", [_BULK_HOSTS * size / 1e6 / wall for wall in column(runs, "wall")], "MB/s"
        )
        result.add(f"{about}: CPU of its own process, {name}", column(runs, "own"), "s")


def _idle(options: Options, result: Result) -> None:
    hosts = options.size(300, 3)
    about = f"{hosts} hosts idle"
    with _server(hosts) as fleet:
        measured = partial(
            worker, "warm-idle", task=asdict(Task.on(fleet, "true", _FANOUT)), seconds=0.5 if options.quick else _IDLE
        )
        runs = interleave({"Fleet": measured}, options, f"warm, {about}")["Fleet"]
    result.add(f"{about}: our CPU", column(runs, "share", 100.0), "%", at_most=1)
    result.add(f"{about}: our memory per host", column(runs, "memory", _KIB), "KiB", at_most=30)
    result.add(f"{hosts} hosts connecting: longest stall", column(runs, "longest", _MS), "ms", at_most=10)


def _server(hosts: int) -> SshdFleet:
    return SshdFleet(hosts, sshd_options={"KexAlgorithms": "curve25519-sha256"})


def _contenders(task: Task, rounds: int, result: Result) -> dict[str, Callable[[], Figures]]:
    given: dict[str, Any] = {"task": asdict(task), "rounds": rounds}
    found: dict[str, Callable[[], Figures]] = {
        "Fleet": partial(worker, "warm-fleet", **given, on_stop="leave"),
        "Fleet, on_stop=kill": partial(worker, "warm-fleet", **given, on_stop="kill"),
        "Fleet with a heartbeat": partial(worker, "warm-fleet", **given, on_stop="leave", beat=True),
        "ssh over ControlMaster": partial(worker, "warm-control-master", **given),
        "ClusterShell over ControlMaster": partial(worker, "warm-clustershell", **given),
    }
    for name, module in (("asyncssh", "asyncssh"), ("parallel-ssh", "pssh")):
        if importlib.util.find_spec(module) is None:
            result.missing(name, f"{name} (pip)")
        else:
            found[name] = partial(worker, f"warm-{name}", **given)
    return found
