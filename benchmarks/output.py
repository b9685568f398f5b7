"""How fast is bulk output: few hosts that write a lot, and many that write a little?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders.peers import peers, to_nowhere
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.measure import Figures, Options, column, interleave, over
from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.harness.results import Result

__all__ = ["run"]

_FANOUT = 64
_MIB = 1 / 2**20
_LINE = "0123456789" * 6
_SHAPES = ((20, 20_000_000), (200, 65_536))
_QUICK = ((2, 100_000),)
_BULK = 20, 200_000_000
_QUICK_BULK = 2, 100_000
_BULK_MEMORY = 120
_TO_NOWHERE = "xargs -P | cat > /dev/null"
_LIMIT = 60
"""Seconds after which a run is killed: about twenty times what the fastest contenders need."""


def run(options: Options, result: Result) -> None:
    for hosts, size in _QUICK if options.quick else _SHAPES:
        _shape(options, result, hosts if options.hosts is None else options.hosts, size)
    _bulk(options, result, *(_QUICK_BULK if options.quick else _BULK))


def _shape(options: Options, result: Result, hosts: int, size: int) -> None:
    def contenders(fleet: SshdFleet, remote: str) -> Mapping[str, Callable[..., Figures]]:
        return peers(fleet, remote, _FANOUT, result, libraries=True)

    about, series = _measured(options, result, hosts, size, contenders)
    ours = series["fan_out"]
    for name, runs in series.items():
        if name != "fan_out":
            result.add(f"{about}: wall, fan_out / {name}", over(ours, runs, "wall"))
    _context(result, series, about, hosts * size)


def _bulk(options: Options, result: Result, hosts: int, size: int) -> None:
    """Measure far more output than fits in memory. `fan_out` keeps all of it; `cat` discards it."""

    def contenders(fleet: SshdFleet, remote: str) -> Mapping[str, Callable[..., Figures]]:
        found = peers(fleet, remote, _FANOUT, result, libraries=False)
        beside = {name: found[name] for name in ("fan_out", "xargs")}
        return {**beside, _TO_NOWHERE: to_nowhere(fleet, remote, _FANOUT)}

    about, series = _measured(options, result, hosts, size, contenders)
    ours = series["fan_out"]
    beside = over(series[_TO_NOWHERE], ours, "wall")
    result.add(f"{about}: throughput, fan_out / {_TO_NOWHERE}", beside, at_least=1)
    result.add(f"{about}: throughput, fan_out / xargs -P, its output counted", over(series["xargs"], ours, "wall"))
    result.add(f"{about}: our peak memory", column(ours, "peak", _MIB), "MiB", at_most=_BULK_MEMORY)
    _context(result, series, about, hosts * size)


def _measured(
    options: Options,
    result: Result,
    hosts: int,
    size: int,
    contenders: Callable[[SshdFleet, str], Mapping[str, Callable[..., Figures]]],
) -> tuple[str, dict[str, list[Figures]]]:
    """Run the contenders on a new fleet. Note and drop each one that does not return every byte."""
    with SshdFleet(hosts, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        found = contenders(fleet, f"yes {_LINE} | head -c {size}")
        about = f"{hosts} hosts x {size / 1000:,.0f} kB"
        limited = {name: partial(contender, kill_after=_LIMIT) for name, contender in found.items()}
        series = interleave(limited, options, f"output, {about}")
    result.notes += [f"{about}: {name} did not finish within {_LIMIT} s" for name in found if name not in series]
    for name, runs in list(series.items()):
        if name == _TO_NOWHERE:
            continue
        least = min(figures["bytes"] for figures in runs)
        if least < hosts * size:
            lost = f"{about}: {name} returned {least:,} of {hosts * size:,} bytes"
            if name == "fan_out":
                raise RunFailed(lost)
            result.notes.append(lost)
            del series[name]
    return about, series


def _context(result: Result, series: dict[str, list[Figures]], about: str, size: int) -> None:
    for name, runs in series.items():
        rates = [size / 1e6 / seconds for seconds in column(runs, "wall")]
        result.add(f"{about}: throughput, {name}", rates, "MB/s")
        result.add(f"{about}: peak memory of its own process, {name}", column(runs, "peak", _MIB), "MiB")
        result.add(f"{about}: CPU with children, {name}", column(runs, "cpu"), "s")
