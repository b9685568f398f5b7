"""The rule around the headers of gathered output, and lines of a host that could be taken for it."""

from __future__ import annotations

import re

__all__ = ["RULE", "mark_rules"]

RULE = b"---------------"
"""As clush draws it."""

_INVISIBLE = (
    rb"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]|\xc2[\x80-\x9f\xad]|\xe2\x80[\x8b-\x8f\xa8-\xae]"
    rb"|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)
"""Bytes that a terminal does not show: control characters and sequences, and characters without a width."""
_BLANK = rb"(?:[\t ]|\xc2\xa0|\xe2\x80[\x80-\x8a\xaf]|\xe2\x81\x9f|\xe3\x80\x80|" + _INVISIBLE + rb")*+"
_DASH = (
    rb"-|\xcb\x97|\xe2\x80[\x90-\x95]|\xe2\x81\x83|\xe2\x88\x92|\xe2\x94[\x80\x81]|\xef\xb9[\x98\xa3]|\xef\xbc\x8d"
)
"""`-`, and characters that look like it."""


def _pattern(fewest: int, most: int) -> re.Pattern[bytes]:
    more = rb"(?:(?:%b)*+(?:%b)){%d,%d}+" % (_INVISIBLE, _DASH, fewest - 1, most - 1)
    return re.compile(rb"^(%b)(%b)(%b%b)$" % (_BLANK, _DASH, more, _BLANK), re.MULTILINE)


_RULES = _pattern(len(RULE) - 1, len(RULE) + 1)
_RULES_IN_DIFF = _pattern(len(RULE) - 2, len(RULE) + 1)


def mark_rules(lines: bytes, *, in_diff: bool = False) -> bytes:
    r"""Return `lines` with the first dash of each line that looks like the rule as text (`\x2d`).

    So a host cannot write the header of another host. A line that is one dash longer or shorter is marked too. With
    `in_diff`, the lines follow a `-`, `+` or space of a diff.
    """
    if lines.isascii() and lines.count(b"-") < len(RULE) - 2:
        return lines
    return (_RULES_IN_DIFF if in_diff else _RULES).sub(_marked, lines)


def _marked(found: re.Match[bytes]) -> bytes:
    dash = rb"\x2d" if found[2] == b"-" else found[2].decode().encode("unicode_escape")
    return found[1] + dash + found[3]
