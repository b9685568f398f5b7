"""Text that others wrote, made fit for a terminal and for lines of our own."""

from __future__ import annotations

import re

__all__ = ["one_line", "visible"]

# All controls but tab and newline, and the characters that change the direction of what stands around them
# (Unicode, UAX #9): the first can drive a terminal, the second make it show what is not there.
_DANGEROUS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""Return `text` with what could drive a terminal spelled out: `\x1b[2J`."""
    return _DANGEROUS.sub(_spelled, text)


def one_line(text: str) -> str:
    """Return `text` as one line for a terminal."""
    return visible(" ".join(text.splitlines()))


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
