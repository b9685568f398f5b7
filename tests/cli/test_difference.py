from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async.cli import difference
from sshfan_async.cli.difference import Side, Steps, unified_diff

FEW_LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"d" * 9 + b"\n"]), max_size=40).map(b"".join)


def diff(old: bytes, new: bytes) -> list[bytes]:
    return list(unified_diff(Side("old", [io.BytesIO(old)]), Side("new", [io.BytesIO(new)]), Steps()))


def notes(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.startswith(b"\\")]


def patched(old: bytes, lines: list[bytes]) -> bytes:
    """Return what `lines`, a unified diff, makes of `old`. Check its context and its ranges."""
    olds, result, place, expected = old.splitlines(keepends=True), b"", 0, (0, 0)
    for line in lines[2:]:
        if hunk := re.fullmatch(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@\n", line):
            assert expected == (0, 0)
            old_start, old_count, new_start, new_count = (1 if part is None else int(part) for part in hunk.groups())
            start = old_start - 1 if old_count else old_start
            result += b"".join(olds[place:start])
            assert result.count(b"\n") == (new_start - 1 if new_count else new_start)
            place, expected = start, (old_count, new_count)
        elif not line.startswith(b"\\"):
            kind, text = line[:1], line[1:]
            if kind in b" -":
                assert olds[place] == text
                place += 1
            if kind in b" +":
                result += text
            expected = (expected[0] - (kind in b" -"), expected[1] - (kind in b" +"))
    assert expected == (0, 0)
    return result + b"".join(olds[place:])


@given(FEW_LINES, FEW_LINES)
def test_a_diff_makes_the_new_output_of_the_old_one(old: bytes, new: bytes) -> None:
    assert patched(old, diff(old, new)) == new


@given(FEW_LINES, FEW_LINES, st.integers(0, 60))
def test_a_diff_that_runs_out_of_steps_is_right_too_and_says_so(old: bytes, new: bytes, steps: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(difference, "_MOST_STEPS", steps)
        lines = diff(old, new)

    assert patched(old, lines) == new
    if lines != diff(old, new):
        assert notes(lines) == [b"\\ equal lines may be shown as changed: to find them all would take too long\n"]


def test_equal_lines_around_a_change_are_context() -> None:
    old = b"".join(b"%d\n" % number for number in range(1, 31))
    new = old.replace(b"\n10\n", b"\nten\n").replace(b"\n25\n", b"\n")

    assert b"".join(diff(old, new)).decode().splitlines() == [
        "--- old", "+++ new",
        "@@ -7,7 +7,7 @@", " 7", " 8", " 9", "-10", "+ten", " 11", " 12", " 13",
        "@@ -22,7 +22,6 @@", " 22", " 23", " 24", "-25", " 26", " 27", " 28",
    ]  # fmt: skip


def test_lines_and_bytes_beyond_the_limits_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difference, "_MOST_LINES", 4)
    old = b"".join(b"%d\n" % number for number in range(10, 30))
    note = rb"\\ left out: old after line (\d+) and new after line (\d+); --outdir=DIR writes whole files.*\n"

    early = diff(old, old[3:])
    assert early[2:-1] == [b"@@ -1,4 +1,3 @@\n", b"-10\n", b" 11\n", b" 12\n", b" 13\n"]
    last = re.fullmatch(note, early[-1])
    assert last is not None
    assert last.groups() == (b"4", b"3")

    late = diff(old, old.replace(b"20", b"xx"))  # lines before the first difference do not count
    assert late[2:5] == [b"@@ -8,7 +8,7 @@\n", b" 17\n", b" 18\n"]
    assert re.fullmatch(note, late[-1])

    monkeypatch.setattr(difference, "_MOST_LINES", 100)
    monkeypatch.setattr(difference, "_MOST_BYTES", 6)
    assert diff(b"1\n2\n3\n4\n", b"a\n")[2:] == [
        b"@@ -1,3 +1 @@\n", b"-1\n", b"-2\n", b"-3\n", b"+a\n",
        b"\\ left out: old after line 3; --outdir=DIR writes whole files, for diff(1)\n",
    ]  # fmt: skip


def test_a_long_line_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difference, "_LONGEST_LINE", 4)

    assert diff(b"aaaabbbbc", b"aaaabbxbc")[3:] == [
        b" aaaa\n", b"-bbbb\n", b"+bbxb\n", b" c\n", b"\\ lines longer than 4 bytes are broken\n",
    ]  # fmt: skip


def test_all_diffs_of_a_run_share_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difference, "_MOST_STEPS", 20)
    steps = Steps()
    told = [
        notes(list(unified_diff(Side("a", [io.BytesIO(b"1\n2\n3\n")]), Side("b", [io.BytesIO(b"0\n2\n4\n")]), steps)))
        for _ in range(3)
    ]

    assert [len(each) for each in told] == [0, 1, 1]
