from __future__ import annotations

import pytest

from sshfan_async.escape import one_line, visible


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb", r"a\u202eb"),
        ("tab\tand\nnewline é", "tab\tand\nnewline é"),
    ],
)
def test_visible(text: str, spelled: str) -> None:
    assert visible(text) == spelled


def test_one_line() -> None:
    assert one_line("a\nb\x07\r\nc") == r"a b\x07 c"
