"""Which hosts: the options that name and exclude them → targets, in the order in which they are named."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sshfan_async.errors import InvalidTarget
from sshfan_async.nodesets import nodes
from sshfan_async.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sshfan_async.cli.arguments.given import Given

__all__ = ["chosen"]

_PIECE = re.compile(r"(?:\[[^\]]*\]?|[^,\[]+)+")
_COMMENT = re.compile(r"(?:^|\s)#.*")

# No host has this name. `nodes` refuses a set that is empty as a whole, and what is excluded may be empty.
_NOBODY = Target(".")


def chosen(given: Given) -> list[Target]:
    """Return the targets; all exclusions come after all that is included. Blocks while it reads files and groups.

    Raises:
        InvalidTarget, click.UsageError: nobody is named, or something that names hosts cannot be used.

    """
    included: dict[Target, None] = {}
    excluded: list[Target] = []
    for name, text in _sources(given):
        if name == "exclude":
            excluded += nodes(f"{_NOBODY},{text}")
        else:
            included.update(dict.fromkeys(nodes(text)))
    everywhere = {target.host for target in excluded if target.user is None and target.port is None}
    exactly = set(excluded)
    left = [target for target in included if target.host not in everywhere and target not in exactly]
    if not left:
        if included:
            raise InvalidTarget("no hosts: all that are named are excluded")
        raise click.UsageError("no hosts: name them with -w, as in: sshfan -w 'web[1-20]' uptime")
    return left


def _sources(given: Given) -> Iterator[tuple[str, str]]:
    """Yield node sets, each with `include` or `exclude`."""
    for value in given.node_sets:
        _check_names("-w", value, "give a node set like 'web[1-20],@db'")
        yield from _pieces(value, excludes=False)
    for group in given.groups:
        yield "include", _group(group)
    if given.all_nodes:
        yield "include", "@*"
    for path in given.host_files:
        yield from (("include", line) for line in _lines(path))
    if not (given.node_sets or given.groups or given.all_nodes or given.host_files):
        wcoll = os.environ.get("WCOLL")
        if wcoll:
            yield from (("include", line) for line in _lines(wcoll))
    for value in given.excluded:
        _check_names("-x", value, "leave the option out")
        yield from _pieces(value, excludes=True)
    for group in given.excluded_groups:
        yield "exclude", _group(group)


def _check_names(option: str, value: str, remedy: str) -> None:
    """Refuse what an unset variable leaves, `-w "$HOSTS"`, by the option's name: the value has nothing to tell."""
    if not value.strip(" \t\n,"):
        raise click.UsageError(f"{option} {value!r} names no hosts: {remedy}")


def _pieces(value: str, *, excludes: bool) -> Iterator[tuple[str, str]]:
    """Split off what only pdsh knows, `^FILE`, `-` and `-NODES`; what is between them is one node set."""
    kind = "exclude" if excludes else "include"
    ordinary: list[str] = []
    for piece in _PIECE.findall(value) or [value]:
        text = piece.strip()
        if not text.startswith(("^", "-")):
            ordinary.append(piece)
            continue
        if ordinary:
            yield kind, ",".join(ordinary)
            ordinary = []
        if text.startswith("^"):
            yield from ((kind, line) for line in _lines(text[1:]))
        elif text == "-":
            yield from ((kind, line) for line in _standard_input())
        else:
            yield "exclude", text[1:]
    if ordinary:
        yield kind, ",".join(ordinary)


def _group(text: str) -> str:
    return ",".join(f"@{name.strip().removeprefix('@')}" for name in text.split(","))


def _lines(path: str) -> Iterator[str]:
    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            yield from _parsed(file, path)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read the hosts in {path!r}: {_why(error)}") from None


def _standard_input() -> Iterator[str]:
    try:
        # None where our caller had closed it.
        yield from _parsed(() if sys.stdin is None else sys.stdin, "standard input")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read the hosts from standard input: {_why(error)}") from None


def _why(error: OSError | UnicodeDecodeError) -> str:
    return "it is not text" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)


def _parsed(lines: Iterable[str], where: str) -> Iterator[str]:
    found = False
    for number, line in enumerate(lines, 1):
        text = _COMMENT.sub("", line).strip()
        if len(text.split()) > 1:
            raise InvalidTarget(f"{where}, line {number}: {text[:80]!r}: write one node set per line")
        if text:
            found = True
            yield text
    if not found:
        raise InvalidTarget(f"{where} names no hosts: write one per line")
