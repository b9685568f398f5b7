from __future__ import annotations

import io
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async.cli.display import lines
from sshfan_async.cli.display.lines import Lines, LineStyle, escape_controls
from tests.support.cli_terminal import Terminal, on

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet

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


def test_a_line_on_a_terminal_is_broken_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_LONGEST_ESCAPED", 2)

    assert shown([b"ab", b"\1", b"d\n"], TERMINAL) == b"h: ab\\x01\nh: d\n"


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"\0", "€".encode(), b"\xff", b"\xe2\x82", b"a"])))
def test_escaping_in_pieces_changes_nothing(parts: list[bytes]) -> None:
    data = b"".join(parts)
    whole = escape_controls(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_PIECE", 2)
        assert escape_controls(data) == whole


@pytest.mark.parametrize("output", [b"\0", b"a\0"])
def test_escaping_takes_little_more_memory_than_its_result(output: bytes) -> None:
    data = output * (4_000_000 // len(output))
    tracemalloc.start()
    try:
        escaped = escape_controls(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * len(escaped)


def test_colours_end_with_their_line() -> None:
    style = LineStyle(b"<", b": ", b">")

    assert shown([b"a\nb\n"], style) == b"<h: a>\n<h: b>\n"


def test_standard_error_has_a_colour_of_its_own(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node001", "echo out; echo err >&2")) as terminal:
        terminal.finish()

    assert b"\x1b[36mnode001:\x1b[0m out\r\n" in terminal.raw
    assert b"\x1b[31mnode001: err\x1b[0m\r\n" in terminal.raw


def test_raw_lets_escape_sequences_through(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "--raw", "-w", "node001", r"printf '\033[5mx\033[0m\n'")) as terminal:
        terminal.finish()

    assert b"\x1b[5mx\x1b[0m" in terminal.raw
