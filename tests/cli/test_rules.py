from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async.cli.rules import RULE, mark_rules


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        (RULE, rb"\x2d" + RULE[1:]),
        (RULE[1:], rb"\x2d" + RULE[2:]),
        (RULE + b"-", rb"\x2d" + RULE),
        (b"\t " + RULE + b" \r", b"\t \\x2d" + RULE[1:] + b" \r"),
        (b"\x1b[36m" + RULE + b"\x1b[0m", b"\x1b[36m\\x2d" + RULE[1:] + b"\x1b[0m"),
        ("\u200b-------\u2060--------\xa0".encode(), "\u200b\\x2d------\u2060--------\xa0".encode()),
        (("\u2500" * 15).encode(), rb"\u2500" + ("\u2500" * 14).encode()),
    ],
)
def test_a_line_that_looks_like_the_rule_is_marked(line: bytes, marked: bytes) -> None:
    assert mark_rules(line) == marked
    assert mark_rules(b"a\n" + line + b"\nb\n") == b"a\n" + marked + b"\nb\n"


@pytest.mark.parametrize(
    "line",
    [
        RULE[2:], RULE + b"--", b"a" + RULE, RULE + b"a", b"-------+-------", b"------- -------",
        b"-----BEGIN CERTIFICATE-----", b"=" * 15, b"-" * 8 + b"\n" + b"-" * 7,
    ],
)  # fmt: skip
def test_other_lines_stay(line: bytes) -> None:
    assert mark_rules(line + b"\n") == line + b"\n"


@given(st.lists(st.sampled_from([b"-", b"-" * 7, b"\n", b" ", b"\0", b"\x1b[0m", b"\x1b[", "\u2014".encode(), b"a"])))
def test_no_line_of_the_result_is_the_rule(parts: list[bytes]) -> None:
    marked = mark_rules(b"".join(parts))

    assert mark_rules(marked) == marked
    assert RULE not in [line.strip() for line in marked.split(b"\n")]
