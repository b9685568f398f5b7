"""Does a host cost the same in a run of 1,000 hosts and of 100,000? With a stand-in for ssh that ends at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.measure import Options, column, interleave, over, worker

if TYPE_CHECKING:
    from benchmarks.harness.results import Result

__all__ = ["run"]

_FANOUT = 64
_PROGRAM = "/bin/true"
_FEW = 1_000
_MOST_RUNS = 3
"""A run with 100,000 hosts takes minutes."""
_MS = 1000.0


def run(options: Options, result: Result) -> None:
    few, many = (20, 100) if options.quick else (_FEW, options.many)
    options = replace(options, runs=min(options.runs, _MOST_RUNS))
    contenders = {
        f"{python}, {hosts}": partial(
            worker,
            "service-fan-out",
            python=python,
            hosts=hosts,
            fanout=_FANOUT,
            ssh={"program": _PROGRAM},
            beat=True,
        )
        for python in options.pythons
        for hosts in (few, many)
    }
    series = interleave(contenders, options, "flat")
    for python in options.pythons:
        small, large = (series[f"{python}, {hosts}"] for hosts in (few, many))
        grown = [ratio * few / many for ratio in over(large, small, "own")]
        result.add(f"our CPU per host, {many:,} hosts / {few:,} hosts, {python}", grown, at_most=1.1)
        result.add(f"longest stall, {few:,} hosts, {python}", column(small, "longest", _MS), "ms", at_most=10)
        result.add(f"longest stall, {many:,} hosts, {python}", column(large, "longest", _MS), "ms", at_most=20)
        for hosts, runs in ((few, small), (many, large)):
            result.add(f"our CPU per host, {hosts:,} hosts, {python}", column(runs, "own", _MS / hosts), "ms")
