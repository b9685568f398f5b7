r"""Text that others wrote, made safe to show: host output, ssh's messages, names and values that a user typed.

A control character can drive a terminal. A bidirectional one makes it show text that is not there (Unicode, UAX #9).
Both are spelled out as Python escapes: `\x1b[2J`, `\u202e`.
"""

from __future__ import annotations

import re
import reprlib

__all__ = ["one_line", "printable", "shown", "visible"]

_BIDI = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_IN_TEXT = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}]")
_IN_LINE = re.compile(rf"[\x00-\x1f\x7f-\x9f{_BIDI}]")

_PASSWORD = re.compile(r"\A([^:]*):.*@", re.DOTALL)
_LONGEST_VALUE = 80
"""Characters of a value in an error message."""


def visible(text: str) -> str:
    """Return `text` with every dangerous character spelled out; tabs and newlines stay."""
    return _IN_TEXT.sub(_spelled, text)


def one_line(text: str) -> str:
    """Return `text` as one line: its lines joined by spaces, every dangerous character spelled out."""
    return visible(" ".join(text.splitlines()))


def printable(raw: bytes, limit: int | None = None) -> str:
    r"""Return what another program wrote as one line of at most `limit` characters, None for all.

    Line breaks are spelled out too. Bytes that are not UTF-8 become `\xff`.
    """
    text = (raw if limit is None else raw[:limit]).decode("utf-8", "backslashreplace")
    return _IN_LINE.sub(_spelled, text)[:limit]


def shown(value: object) -> str:
    """Return `value` for an error message: one short line of ASCII, without the password of `user:password@host`."""
    text = ascii(_PASSWORD.sub(r"\1:...@", value)) if isinstance(value, str) else ascii(reprlib.repr(value))[1:-1]
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
