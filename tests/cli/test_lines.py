from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async.cli import lines
from sshfan_async.cli.lines import for_pipe, for_terminal
from sshfan_async.cli.text import one_line, visible


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b""))), st.booleans())
def test_each_line_gets_the_prefix_whatever_the_chunks(given_lines: list[bytes], ends: bool) -> None:
    output = b"\n".join(given_lines) + (b"\n" if ends and given_lines else b"")
    whole = output if output.endswith(b"\n") or not output else output + b"\n"
    expected = b"".join(b"h: " + line for line in io.BytesIO(whole))
    for chunk in (1, 2, 3, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lines, "_CHUNK", chunk)
            assert b"".join(for_pipe(io.BytesIO(output), "h")) == expected


@given(st.binary())
def test_nothing_that_drives_a_terminal_comes_through(output: bytes) -> None:
    shown = b"".join(for_terminal(io.BytesIO(output), "h")).decode()

    assert all(character.isprintable() or character in "\t\n" or ord(character) > 0x9F for character in shown)


def test_characters_cut_by_a_chunk_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_CHUNK", 1)

    assert b"".join(for_terminal(io.BytesIO("é€\n".encode()), "h")) == "h: é€\n".encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb", r"a\u202eb"),
        ("tab\tand\nnewline é", "tab\tand\nnewline é"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_one_line() -> None:
    assert one_line("a\nb\x07\r\nc") == r"a b\x07 c"
