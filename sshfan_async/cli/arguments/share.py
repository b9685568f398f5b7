"""`10` or `25%`: a number of hosts, or a part of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Share", "parse_shares"]

_SHARE = re.compile(r"([0-9]{1,9})(%?)")


@dataclass(frozen=True, slots=True)
class Share:
    """`number` hosts, or that many percent of them."""

    number: int
    percent: bool = False

    def of(self, total: int) -> int:
        """Return how many of `total` hosts these are, rounded down."""
        return total * self.number // 100 if self.percent else self.number

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)


def parse_shares(text: str, *, least: int) -> tuple[Share, ...]:
    """Return the shares that `1,10%,50%` names.

    Raises:
        ValueError: one of them is no number, smaller than `least`, or more than 100 %.

    """
    return tuple(_parsed(part.strip(), least) for part in text.split(","))


def _parsed(text: str, least: int) -> Share:
    found = _SHARE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a number of hosts: give N or P%")
    share = Share(int(found[1]), found[2] == "%")
    if share.number < least or (share.percent and share.number > 100):
        raise ValueError(f"{text!r} is out of range: give {least} or more hosts, or up to 100%")
    return share
