"""Much output: few hosts that write much, many that write a little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure import Options, RunFailed, column, interleave, over
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


def run(options: Options, result: Result) -> None:
    for hosts, size in _QUICK if options.quick else _SHAPES:
        _shape(options, result, hosts if options.hosts is None else options.hosts, size)


def _shape(options: Options, result: Result, hosts: int, size: int) -> None:
    with SshdFleet(hosts, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        contenders = peers(fleet, f"yes {_LINE} | head -c {size}", _FANOUT, result, libraries=True)
        about = f"{hosts} hosts x {size / 1000:,.0f} kB"
        series = interleave(contenders, options, f"output, {about}")
    for name, runs in series.items():
        for figures in runs:
            if figures["bytes"] < hosts * size:
                raise RunFailed(f"{name} gave {figures['bytes']:,} of {hosts * size:,} bytes")
    ours = series["fan_out"]
    for name, runs in series.items():
        if name != "fan_out":
            result.add(f"{about}: wall, fan_out / {name}", over(ours, runs, "wall"))
    for name, runs in series.items():
        rates = [hosts * size / 1e6 / seconds for seconds in column(runs, "wall")]
        result.add(f"{about}: throughput, {name}", rates, "MB/s")
        result.add(f"{about}: peak memory of its own process, {name}", column(runs, "peak", _MIB), "MiB")
        result.add(f"{about}: CPU with children, {name}", column(runs, "cpu"), "s")
