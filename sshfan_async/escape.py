r"""Makes text safe to show: host output, ssh's messages, and names and values that a user typed.

Control characters can send commands to a terminal, and bidirectional characters can make it show other text than was
written (Unicode, UAX #9). Both are replaced by Python escapes: `\x1b[2J`, `\u202e`.
"""

from __future__ import annotations

import re
import reprlib

__all__ = ["one_line", "printable", "shown", "visible"]

_BIDI = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_IN_TEXT = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}]+")
_IN_LINE = re.compile(rf"[\x00-\x1f\x7f-\x9f{_BIDI}]+")

_LONGEST_VALUE = 80
"""The most characters of a value that an error message shows."""


def visible(text: str) -> str:
    """Return `text` with dangerous characters escaped; tabs and newlines stay."""
    return _IN_TEXT.sub(_escaped, text)


def one_line(text: str) -> str:
    """Return `text` as one line: lines joined by spaces, dangerous characters escaped."""
    return visible(" ".join(text.splitlines()))


def printable(raw: bytes, limit: int | None = None) -> str:
    r"""Return another program's output as one line, cut to `limit` characters if that is not None.

    Line breaks are escaped too. A byte that is not UTF-8 becomes an escape such as `\xff`.
    """
    text = (raw if limit is None else raw[:limit]).decode("utf-8", "backslashreplace")
    return _IN_LINE.sub(_escaped, text)[:limit]


def shown(value: object) -> str:
    """Return `value` for an error message: one short line of ASCII.

    The password in `user:password@host` is left out.
    """
    text = ascii(_beginning(value)) if isinstance(value, str) else ascii(reprlib.repr(value))[1:-1]
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _beginning(text: str) -> str:
    """Return the part of `text` that can be shown, without what is between its first `:` and its last `@`."""
    colon, at = text.find(":"), text.rfind("@")
    if 0 <= colon < at:
        text = f"{text[: min(colon, _LONGEST_VALUE)]}:...{text[at : at + _LONGEST_VALUE]}"
    return text[: _LONGEST_VALUE + 1]


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
