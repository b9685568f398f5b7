"""`Share`: a number of hosts (`10`) or a percentage of them (`25%`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Share", "parse_shares"]

_SHARE = re.compile(r"([0-9]{1,9})(%?)")


@dataclass(frozen=True, slots=True)
class Share:
    """`number` hosts, or `number` percent of the hosts."""

    number: int
    percent: bool = False

    def of(self, total: int) -> int:
        """Return the share of `total` hosts as a number, rounded down."""
        return total * self.number // 100 if self.percent else self.number

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)


def parse_shares(text: str, *, least: int) -> tuple[Share, ...]:
    """Parse shares separated by commas, such as `1,10%,50%`.

    Raises:
        ValueError: a share is not a number, is smaller than `least`, or is more than 100 %.

    """
    return tuple(_parsed(part.strip(), least) for part in text.split(","))


def _parsed(text: str, least: int) -> Share:
    found = _SHARE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a number of hosts: give N or P%, such as 5 or 10%")
    share = Share(int(found[1]), found[2] == "%")
    if share.number < least or (share.percent and share.number > 100):
        raise ValueError(f"{text!r} is out of range: give at least {least}, and at most 100%")
    return share
