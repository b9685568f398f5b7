"""The results of a benchmark: rows of repeated measurements, each with its target."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["RATIO", "Picture", "Result", "Row"]

RATIO = "x"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity, measured once per round."""

    what: str
    values: tuple[float, ...]
    unit: str = RATIO
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def held(self) -> bool | None:
        """Whether the median meets the target, or None if there is no target."""
        if self.at_most is not None:
            return self.median <= self.at_most
        if self.at_least is not None:
            return self.median >= self.at_least
        return None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median, "held": self.held}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture for `--plot`: lines over numbers, or one bar per name."""

    file: str
    title: str
    across: str
    up: str
    series: dict[str, list[tuple[float | str, float]]]


@dataclass(slots=True)
class Result:
    """All rows of one benchmark, its notes and its pictures."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def add(
        self,
        what: str,
        values: list[float],
        unit: str = RATIO,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        self.rows.append(Row(what=what, values=tuple(values), unit=unit, at_most=at_most, at_least=at_least))

    def missing(self, peer: str, package: str) -> None:
        """Note a peer that is not installed."""
        note = f"{peer} is missing: install {package}"
        if note not in self.notes:
            self.notes.append(note)

    def as_json(self) -> dict[str, Any]:
        return {"rows": [row.as_json() for row in self.rows], "notes": self.notes}
