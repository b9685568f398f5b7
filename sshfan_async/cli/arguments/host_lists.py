"""Read the node sets of a file or of standard input, one per line, as pdsh and clush users write them."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Line", "lines_of_file", "lines_of_standard_input"]

# `#` begins a comment after white space, or if white space follows it: `ops#db1@bastion` is a user and a host.
_COMMENT = re.compile(r"(?:^|\s)#.*|#(?=\s|$).*")
_INCLUDE = re.compile(r"#include\s+(\S.*?)\s*")

_MAX_LINE = 1024 * 1024
"""Characters of a line."""
_MAX_TEXT = 16 * 1024 * 1024
"""Characters of a file: room for 100,000 hosts on a line each, with comments."""
_MAX_DEPTH = 10
"""Files that include each other."""


class Line(NamedTuple):
    """One node set, and the option or file that it comes from."""

    text: str
    source: str
    """The path of the file, or `standard input`."""
    number: int

    def __str__(self) -> str:
        return f"{self.source}, line {self.number}"


def lines_of_file(path: str) -> Iterator[Line]:
    """Yield the node sets of a file, without comments. `#include FILE` reads another file, relative to this one.

    Raises:
        click.UsageError: the file cannot be read, is too large, or has no node set.

    """
    yield from _lines_of(os.path.expanduser(path), path, ())


def lines_of_standard_input() -> Iterator[Line]:
    """Yield the node sets of standard input, without comments.

    Raises:
        click.UsageError: it cannot be read, is too large, or has no node set.

    """
    # sys.stdin is None if descriptor 0 was closed at startup.
    yield from _parsed(io.StringIO() if sys.stdin is None else sys.stdin, "standard input", None, ())


def _lines_of(path: str, name: str, including: tuple[str, ...]) -> Iterator[Line]:
    if path in including or len(including) >= _MAX_DEPTH:
        raise click.UsageError(f"{including[-1]}: #include {name}: files include each other, or are nested too deep")
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from _parsed(file, name, path, including)
    except OSError as error:
        raise click.UsageError(f"cannot read the hosts in {name!r}: {error.strerror or error}") from None


def _parsed(file: TextIO, source: str, path: str | None, including: tuple[str, ...]) -> Iterator[Line]:
    found, number, size = False, 0, 0
    while line := _read_line(file, source, number + 1):
        number, size = number + 1, size + len(line)
        if size > _MAX_TEXT:
            raise click.UsageError(
                f"{source}, line {number}: more than {_MAX_TEXT} characters: is it a list of hosts?"
            )
        include = _INCLUDE.fullmatch(line.strip())
        if include is not None and path is not None:
            found = True
            other = os.path.join(os.path.dirname(path), os.path.expanduser(include[1]))
            yield from _lines_of(other, include[1], (*including, path))
            continue
        text = _COMMENT.sub("", line).strip()
        if len(text.split()) > 1:
            raise click.UsageError(f"{source}, line {number}: {text[:80]!r}: write one node set per line")
        if text:
            found = True
            yield Line(text, source, number)
    if not found:
        raise click.UsageError(f"{source} names no hosts: write one node set per line")


def _read_line(file: TextIO, source: str, number: int) -> str:
    try:
        line = file.readline(_MAX_LINE)
    except OSError as error:
        raise click.UsageError(f"cannot read the hosts in {source!r}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{source}, line {number}: it is not text in UTF-8") from None
    if len(line) == _MAX_LINE:
        raise click.UsageError(f"{source}, line {number}: longer than {_MAX_LINE} characters: is it a list of hosts?")
    return line
