from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async.escape import one_line, printable, shown, visible

LONGEST_VALUE = 80

# Unicode's property Bidi_Control (UAX #9), and the two separators that Unicode counts as line breaks.
CONTROLS_OF_DIRECTION = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS_AND_SEPARATORS = {"\u061c", "\u200e", "\u200f", "\u2028", "\u2029"}


def is_dangerous(character: str) -> bool:
    return (
        unicodedata.category(character) == "Cc"
        or unicodedata.bidirectional(character) in CONTROLS_OF_DIRECTION
        or character in MARKS_AND_SEPARATORS
    )


EVERY_CHARACTER = [chr(number) for number in range(0x110000) if not 0xD800 <= number < 0xE000]


def test_visible_escapes_every_dangerous_character_and_no_other() -> None:
    changed = {character for character in EVERY_CHARACTER if visible(character) != character}
    assert changed == {character for character in EVERY_CHARACTER if is_dangerous(character)} - {"\t", "\n"}
    assert all(visible(character).isascii() and visible(character).isprintable() for character in changed)


def test_printable_escapes_every_dangerous_character_and_no_other() -> None:
    changed = {character for character in EVERY_CHARACTER if printable(character.encode()) != character}
    assert changed == {character for character in EVERY_CHARACTER if is_dangerous(character)}


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


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_one_line_joins_lines_at_any_line_break(line_break: str) -> None:
    assert one_line(f"a{line_break}b") == "a b"


@given(st.text())
def test_one_line_of_any_text_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        ("é€\N{SNOWMAN}".encode(), "é€\N{SNOWMAN}"),
        (b"a\xffb", r"a\xffb"),
        (b"\xc3", r"\xc3"),
        (b"\xc0\xaf", r"\xc0\xaf"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"a\tb\r\nc", r"a\tb\r\nc"),
        (b"a\0b\x7f", r"a\x00b\x7f"),
        ("a\u202eb\u2066".encode(), r"a\u202eb\u2066"),
    ],
    ids=["empty", "text", "byte", "cut", "overlong", "surrogate", "line breaks", "controls", "bidi"],
)
def test_printable_escapes_line_breaks_and_bytes_that_are_not_utf_8(raw: bytes, text: str) -> None:
    assert printable(raw) == text


@pytest.mark.parametrize(
    ("raw", "limit", "text"),
    [
        (b"abcdef", 6, "abcdef"),
        (b"abcdef", 5, "abcde"),
        (b"abcdef", 0, ""),
        (b"\x1b" * 5, 6, r"\x1b\x"),
        ("é".encode() * 4, 4, "éé"),
    ],
)
def test_printable_has_at_most_as_many_characters_as_the_limit(raw: bytes, limit: int, text: str) -> None:
    assert printable(raw, limit) == text


@given(st.binary(), st.none() | st.integers(0, 50))
def test_printable_of_any_bytes_is_safe(raw: bytes, limit: int | None) -> None:
    text = printable(raw, limit)
    assert not any(map(is_dangerous, text))
    assert limit is None or len(text) <= limit


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("web1", "'web1'"),
        ("", "''"),
        ("it's", '"it\'s"'),
        ("bücher\n\x1b[2J\u202e", r"'b\xfccher\n\x1b[2J\u202e'"),
        (7, "7"),
        (None, "None"),
        (["a", "b"], "['a', 'b']"),
    ],
)
def test_shown_is_the_value_as_python_spells_it(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ops:s3cret@web1", "'ops:...@web1'"),
        ("ops:s3@cret@web1", "'ops:...@web1'"),
        ("ops:s3\ncret@web1", "'ops:...@web1'"),
        (":s3cret@web1", "':...@web1'"),
        ("ssh://ops:s3cret@web1", "'ssh:...@web1'"),
        ("web1:22", "'web1:22'"),
        ("ops@web1:22", "'ops@web1:22'"),
    ],
)
def test_shown_leaves_the_password_out(value: str, text: str) -> None:
    assert shown(value) == text


def test_shown_cuts_what_is_longer_than_80_characters() -> None:
    fits = "x" * (LONGEST_VALUE - 2)
    assert shown(fits) == f"'{fits}'"
    assert shown(fits + "x") == f"'{'x' * (LONGEST_VALUE - 4)}..."


class Odd:
    """An object whose own text must not reach a terminal."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    def __repr__(self) -> str:
        if self._text is None:
            raise ZeroDivisionError
        return self._text


@given(st.text() | st.binary() | st.builds(Odd, st.none() | st.text()) | st.lists(st.integers()))
def test_shown_of_any_value_is_one_short_line_of_ascii(value: object) -> None:
    text = shown(value)
    assert text.isascii()
    assert text == "" or text.isprintable()
    assert len(text) <= LONGEST_VALUE
