"""Write a unified diff of two outputs, with limits on memory and work: hosts choose what is compared."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from itertools import accumulate, zip_longest
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

__all__ = ["Side", "Steps", "unified_diff"]

_CONTEXT = 3
"""Equal lines that are shown around a change."""
_LONGEST_LINE = 64 * 1024
"""Bytes after which a line is broken."""
_MOST_LINES = 100_000
_MOST_BYTES = 4 * 1024 * 1024
"""The part of each output that is compared, from the first line that differs on."""
_MOST_STEPS = 20_000_000
"""Comparisons of two lines for all diffs of a run: a few seconds."""


class Steps:
    """The comparisons that are left for all diffs of a run."""

    def __init__(self) -> None:
        self._left = _MOST_STEPS

    def take(self, count: int) -> bool:
        """Take `count` comparisons; return False, and take none, if fewer are left."""
        if count > self._left:
            return False
        self._left -= count
        return True


class Side:
    """One of the two outputs: the lines of its streams, one after the other."""

    def __init__(self, name: str, streams: Iterable[BinaryIO]) -> None:
        self.name = name
        self.has_broken_lines = False
        self._lines = self._read(streams)

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def _read(self, streams: Iterable[BinaryIO]) -> Iterator[bytes]:
        for stream in streams:
            with stream:
                while line := stream.readline(_LONGEST_LINE):
                    if line.endswith(b"\n"):
                        yield line
                    else:
                        self.has_broken_lines |= len(line) == _LONGEST_LINE
                        yield line + b"\n"


class _Change(NamedTuple):
    """Lines `old_start` to `old_end` are replaced by lines `new_start` to `new_end` of the other output."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


@dataclass(slots=True)
class _Window:
    """The lines of one side that are compared, and whether there are more after them."""

    lines: list[bytes]
    is_cut: bool = False


def unified_diff(old: Side, new: Side, steps: Steps) -> Iterator[bytes]:
    r"""Yield the lines of a diff. Lines that begin with `\` say what was left out, or is not exact."""
    yield b"--- %b\n" % old.name.encode()
    yield b"+++ %b\n" % new.name.encode()
    before: deque[bytes] = deque(maxlen=_CONTEXT)
    equal = 0
    for first in zip_longest(old, new):
        if first[0] != first[1]:
            break
        before.append(first[0])
        equal += 1
    else:
        return
    olds, news = _window(first[0], old), _window(first[1], new)
    cut = olds.is_cut or news.is_cut
    after = [] if cut else _cut_equal_end(olds.lines, news.lines)
    changes, is_exact = _changes(olds.lines, news.lines, steps)
    if _is_doubtful(changes[-1], olds, news):
        last = changes.pop()
        del olds.lines[last.old_start :], news.lines[last.new_start :]
    for window in (olds, news):
        window.lines[:0] = before
        window.lines += after
    shifted = [_Change(*(line + len(before) for line in change)) for change in changes]
    yield from _hunks(olds.lines, news.lines, shifted, equal - len(before))
    if cut:
        parts = [
            f"{side.name} after line {equal - len(before) + len(window.lines)}"
            for side, window in ((old, olds), (new, news))
            if window.is_cut
        ]
        yield _note(f"left out: {' and '.join(parts)}; --outdir=DIR writes whole files, for diff(1)")
    if old.has_broken_lines or new.has_broken_lines:
        yield _note(f"lines longer than {_LONGEST_LINE} bytes are broken")
    if not is_exact:
        yield _note("equal lines may be shown as changed: to find them all would take too long")


def _window(first: bytes | None, side: Side) -> _Window:
    if first is None:
        return _Window([])
    window, size = _Window([first]), len(first)
    for line in side:
        size += len(line)
        if size > _MOST_BYTES or len(window.lines) == _MOST_LINES:
            window.is_cut = True
            break
        window.lines.append(line)
    return window


def _cut_equal_end(old: list[bytes], new: list[bytes]) -> list[bytes]:
    """Remove the lines at the end that are equal; return the first of them, as context."""
    count = 0
    while count < min(len(old), len(new)) and old[-1 - count] == new[-1 - count]:
        count += 1
    if count == 0:
        return []
    after = old[-count:][:_CONTEXT]
    del old[-count:], new[-count:]
    return after


def _changes(old: list[bytes], new: list[bytes], steps: Steps) -> tuple[list[_Change], bool]:
    """Return what differs, and whether that is exact: False if there were too few steps to find all equal lines."""
    changes, matches, is_exact = [], [Match(len(old), len(new), 0)], True
    if old and new:
        is_exact = steps.take(len(old) + len(new))
        if is_exact:
            numbers: dict[bytes, int] = {}
            matcher = _Matcher(*([numbers.setdefault(line, len(numbers)) for line in side] for side in (old, new)))
            matches, is_exact = matcher.matches(steps)
    old_start = new_start = 0
    for old_end, new_end, size in matches:
        if old_start < old_end or new_start < new_end:
            changes.append(_Change(old_start, old_end, new_start, new_end))
        old_start, new_start = old_end + size, new_end + size
    return changes, is_exact


class _Matcher(SequenceMatcher[int]):
    """A SequenceMatcher, which may take cubic time, that finds no more matches when the steps are used up."""

    def __init__(self, old: Sequence[int], new: Sequence[int]) -> None:
        super().__init__(None, old, new)
        places: dict[int, list[int]] = self.b2j  # type: ignore[attr-defined]  # documented, but not in typeshed
        self._costs = [0, *accumulate(1 + len(places.get(line, ())) for line in old)]
        self._steps = Steps()
        self._is_exact = True

    def matches(self, steps: Steps) -> tuple[list[Match], bool]:
        """Return the matching blocks, and whether the steps were enough to find them all."""
        self._steps = steps
        return self.get_matching_blocks(), self._is_exact

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        end = len(self._costs) - 1 if ahi is None else ahi
        if self._is_exact and self._steps.take(self._costs[end] - self._costs[alo]):
            return super().find_longest_match(alo, ahi, blo, bhi)
        self._is_exact = False
        return Match(alo, blo, 0)


def _is_doubtful(last: _Change, old: _Window, new: _Window) -> bool:
    """Return whether the lines of the last change may be equal to lines of the other output that were left out."""
    if last.old_end < len(old.lines) or last.new_end < len(new.lines):
        return False
    adds, removes = last.old_start == last.old_end, last.new_start == last.new_end
    return (old.is_cut and adds) or (new.is_cut and removes)


def _hunks(old: list[bytes], new: list[bytes], changes: list[_Change], skipped: int) -> Iterator[bytes]:
    """Yield the hunks for `changes`. `skipped` lines before `old` and `new` are equal."""
    start = 0
    for index, change in enumerate(changes):
        is_last = index + 1 == len(changes)
        if is_last or changes[index + 1].old_start - change.old_end > 2 * _CONTEXT:
            yield from _hunk(old, new, changes[start : index + 1], skipped)
            start = index + 1


def _hunk(old: list[bytes], new: list[bytes], changes: list[_Change], skipped: int) -> Iterator[bytes]:
    first, last = changes[0], changes[-1]
    leading = min(_CONTEXT, first.old_start)
    trailing = min(_CONTEXT, len(old) - last.old_end)
    place, end = first.old_start - leading, last.old_end + trailing
    old_range = _range(place + skipped, end - place)
    new_range = _range(first.new_start - leading + skipped, last.new_end + trailing - (first.new_start - leading))
    yield f"@@ -{old_range} +{new_range} @@\n".encode()
    for change in changes:
        yield from (b" " + line for line in old[place : change.old_start])
        yield from (b"-" + line for line in old[change.old_start : change.old_end])
        yield from (b"+" + line for line in new[change.new_start : change.new_end])
        place = change.old_end
    yield from (b" " + line for line in old[place:end])


def _range(start: int, count: int) -> str:
    """Return a range of a hunk's header; lines count from 1, and an empty range names the line before it."""
    if count == 1:
        return f"{start + 1}"
    return f"{start + 1 if count else start},{count}"


def _note(text: str) -> bytes:
    r"""Return a line that no output can forge: each of their lines begins with a space, `-` or `+`."""
    return f"\\ {text}\n".encode()
