"""Format the tables: ratios and targets first, then the other figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.results import RATIO, Result, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["lines"]


def lines(facts: Mapping[str, str], results: Mapping[str, Result], *, judge: bool) -> Iterator[str]:
    """Yield the lines of the whole report. If `judge`, print the targets beside the figures."""
    for name, fact in facts.items():
        yield f"{name + ':':<11}{fact}"
    for name, result in results.items():
        yield ""
        yield f"{name}: median (lowest to highest; number of runs)"
        first = [row for row in result.rows if _leads(row)]
        rest = [row for row in result.rows if not _leads(row)]
        width = max((len(row.what) for row in result.rows), default=0)
        for row in first:
            yield _line(row, width, judge=judge)
        if first and rest:
            yield "  other figures:"
        for row in rest:
            yield _line(row, width, judge=judge)
        for note in result.notes:
            yield f"  note: {note}"


def _leads(row: Row) -> bool:
    return row.unit == RATIO or row.held is not None


def _line(row: Row, width: int, *, judge: bool) -> str:
    figure = f"{_number(row.median)} {row.unit}"
    spread = f"({_number(min(row.values))} to {_number(max(row.values))}; {len(row.values)})"
    line = f"  {row.what:<{width}}  {figure:>12}  {spread:<28}"
    if not judge or row.held is None:
        return line.rstrip()
    bar = f"<= {row.at_most:g}" if row.at_most is not None else f">= {row.at_least:g}"
    return f"{line} {bar:>8}  {'met' if row.held else 'MISSED'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
