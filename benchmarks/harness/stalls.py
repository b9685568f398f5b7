"""Add the rows that explain a stall: the other contenders' stalls, and the pauses of the garbage collector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.measure import Figures, column

if TYPE_CHECKING:
    from benchmarks.harness.results import Result

__all__ = ["add_context"]

_MS = 1000.0


def add_context(result: Result, series: dict[str, list[Figures]], about: str) -> None:
    for name, runs in series.items():
        if not name.startswith("fan_out"):
            result.add(f"longest stall, {about}: {name}", column(runs, "longest", _MS), "ms")
        result.add(f"p99 stall, {about}: {name}", column(runs, "p99", _MS), "ms")
        pauses = column(runs, "collecting", _MS)
        result.add(f"longest pause of the garbage collector, {about}: {name}", pauses, "ms")
