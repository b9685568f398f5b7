"""What a benchmark found: `Row`s of repeated measurements, with the bar each is held against."""

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
        """Whether the median keeps the bar; None without one."""
        if self.at_most is not None:
            return self.median <= self.at_most
        if self.at_least is not None:
            return self.median >= self.at_least
        return None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median, "held": self.held}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What `--plot` draws: lines over numbers, or a bar for each name."""

    file: str
    title: str
    across: str
    up: str
    series: dict[str, list[tuple[float | str, float]]]


@dataclass(slots=True)
class Result:
    """All rows of one benchmark, and what a reader must know beside them."""

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
        """Name a peer that could not take part."""
        note = f"{peer} is missing: install {package}"
        if note not in self.notes:
            self.notes.append(note)

    def as_json(self) -> dict[str, Any]:
        return {"rows": [row.as_json() for row in self.rows], "notes": self.notes}
