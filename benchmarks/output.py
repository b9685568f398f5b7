"""Much output: few hosts that write much, many that write a little."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.measure import Figures, Options, RunFailed, column, interleave, over
from benchmarks.peers import peers
from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from benchmarks.results import Result

__all__ = ["run"]

_FANOUT = 64
_MIB = 1 / 2**20
_LINE = "0123456789" * 6
_SHAPES = ((20, 20_000_000), (200, 65_536))
_QUICK = ((2, 100_000),)
_BULK = 20, 200_000_000
_QUICK_BULK = 2, 100_000
_BULK_BESIDE = ("fan_out", "xargs")
_BULK_MEMORY = 120
_LIMIT = 60
"""Seconds that each has for a run: about twenty times what the first of them need."""


def run(options: Options, result: Result) -> None:
    for hosts, size in _QUICK if options.quick else _SHAPES:
        _shape(options, result, hosts if options.hosts is None else options.hosts, size)
    _bulk(options, result, *(_QUICK_BULK if options.quick else _BULK))


def _shape(options: Options, result: Result, hosts: int, size: int) -> None:
    about, series = _measured(options, result, hosts, size, beside=None)
    ours = series["fan_out"]
    for name, runs in series.items():
        if name != "fan_out":
            result.add(f"{about}: wall, fan_out / {name}", over(ours, runs, "wall"))
    _context(result, series, about, hosts * size)


def _bulk(options: Options, result: Result, hosts: int, size: int) -> None:
    """More than the memory for outputs takes by far: what we keep whole, xargs passes on."""
    about, series = _measured(options, result, hosts, size, beside=_BULK_BESIDE)
    ours = series["fan_out"]
    result.add(f"{about}: throughput, fan_out / xargs -P", over(series["xargs"], ours, "wall"), at_least=1)
    result.add(f"{about}: our peak memory", column(ours, "peak", _MIB), "MiB", at_most=_BULK_MEMORY)
    _context(result, series, about, hosts * size)


def _measured(
    options: Options, result: Result, hosts: int, size: int, *, beside: tuple[str, ...] | None
) -> tuple[str, dict[str, list[Figures]]]:
    """Run `beside`, or all peers; who does not give every byte is named, and not compared."""
    with SshdFleet(hosts, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        contenders = peers(fleet, f"yes {_LINE} | head -c {size}", _FANOUT, result, libraries=beside is None)
        if beside is not None:
            contenders = {name: contenders[name] for name in beside}
        about = f"{hosts} hosts x {size / 1000:,.0f} kB"
        limited = {name: partial(contender, kill_after=_LIMIT) for name, contender in contenders.items()}
        series = interleave(limited, options, f"output, {about}")
    result.notes += [f"{about}: {name} did not end within {_LIMIT} s" for name in contenders if name not in series]
    for name, runs in list(series.items()):
        least = min(figures["bytes"] for figures in runs)
        if least < hosts * size:
            lost = f"{about}: {name} gave {least:,} of {hosts * size:,} bytes"
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
