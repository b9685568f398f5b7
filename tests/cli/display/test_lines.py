from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async.cli.display import lines
from sshfan_async.cli.display.lines import Lines, LineStyle
from sshfan_async.escape import one_line, visible

TERMINAL = LineStyle(escapes=True)


def shown(chunks: list[bytes], style: LineStyle) -> bytes:
    host = Lines("h", style)
    return b"".join([*map(host.feed, chunks), host.end()])


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b""))), st.booleans(), st.integers(1, 9))
def test_each_line_gets_the_prefix_whatever_the_chunks(given_lines: list[bytes], ends: bool, size: int) -> None:
    output = b"\n".join(given_lines) + (b"\n" if ends and given_lines else b"")
    whole = output if output.endswith(b"\n") or not output else output + b"\n"
    expected = b"".join(b"h: " + line for line in io.BytesIO(whole))
    chunks = [output[at : at + size] for at in range(0, len(output), size)]

    assert shown(chunks, LineStyle()) == expected
    assert shown(chunks, LineStyle(prefixed=False)) == whole


@given(st.binary())
def test_nothing_that_drives_a_terminal_comes_through(output: bytes) -> None:
    text = shown([output], TERMINAL).decode()

    assert all(character.isprintable() or character in "\t\n" or ord(character) > 0x9F for character in text)


def test_characters_cut_by_a_chunk_stay_whole() -> None:
    text = "é€\n".encode()

    assert shown([text[at : at + 1] for at in range(len(text))], TERMINAL) == "h: é€\n".encode()


def test_the_lines_of_two_hosts_never_mix() -> None:
    one, two = Lines("one", LineStyle()), Lines("two", LineStyle())

    assert [one.feed(b"a"), two.feed(b"x\ny"), one.feed(b"b\n"), two.end()] == [
        b"",
        b"two: x\n",
        b"one: ab\n",
        b"two: y\n",
    ]


def test_a_line_without_end_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_LONGEST", 5)

    assert shown([b"abc", b"def", b"g\n"], LineStyle()) == b"h: abcdef\nh: g\n"


def test_colours_end_with_their_line() -> None:
    style = LineStyle(b"<", b": ", b">")

    assert shown([b"a\nb\n"], style) == b"<h: a>\n<h: b>\n"


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
