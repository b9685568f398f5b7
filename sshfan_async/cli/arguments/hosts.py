"""Turn the options that name and exclude hosts into a list of targets."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from sshfan_async.cli.arguments.host_lists import Line, lines_of_file, lines_of_standard_input
from sshfan_async.errors import InvalidTarget
from sshfan_async.nodesets import Expansion
from sshfan_async.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sshfan_async.cli.arguments.command_line import CommandLine

__all__ = ["select_targets"]

_PIECE = re.compile(r"(?:\[[^\]]*\]?|[^,\[]+)+")

# No host has this name. `nodes` refuses an empty set, but an excluded group may be empty.
_PLACEHOLDER = Target(".")


def select_targets(command_line: CommandLine) -> list[Target]:
    """Return the targets in the order named, each once. Exclusions apply last. Blocks: reads files and groups.

    Raises:
        InvalidTarget, click.UsageError: no hosts are left, or an option that names hosts is invalid.

    """
    included: dict[Target, None] = {}
    excluded: list[Target] = []
    expansion = Expansion()
    for name, text in _sources(command_line):
        if name == "exclude":
            excluded += _expand(expansion, text, excludes=True)
        else:
            included.update(dict.fromkeys(_expand(expansion, text, excludes=False)))
    excluded_hosts = {target.host for target in excluded if target.user is None and target.port is None}
    excluded_targets = set(excluded)
    remaining = [
        target for target in included if target.host not in excluded_hosts and target not in excluded_targets
    ]
    if not remaining:
        if included:
            raise InvalidTarget("no hosts left: every host that was named is excluded")
        raise click.UsageError("no hosts: name them with -w, as in: sshfan -w 'web[1-20]' uptime")
    return remaining


def _expand(expansion: Expansion, node_set: str | Line, *, excludes: bool) -> list[Target]:
    text = node_set if isinstance(node_set, str) else node_set.text
    try:
        return expansion.expand(f"{_PLACEHOLDER},{text}" if excludes else text)
    except InvalidTarget as error:
        if isinstance(node_set, str):
            raise
        raise InvalidTarget(f"{node_set}: {error}") from None


def _sources(command_line: CommandLine) -> Iterator[tuple[str, str | Line]]:
    """Yield pairs of `include` or `exclude` and a node set."""
    for value in command_line.node_sets:
        _check_names("-w", value, "give a node set like 'web[1-20],@db'")
        yield from _pieces(value, excludes=False)
    for group in command_line.groups:
        yield "include", _group(group)
    if command_line.all_nodes:
        yield "include", "@*"
    for path in command_line.host_files:
        yield from (("include", line) for line in lines_of_file(path))
    if not (command_line.node_sets or command_line.groups or command_line.all_nodes or command_line.host_files):
        wcoll = os.environ.get("WCOLL")
        if wcoll:
            yield from (("include", line) for line in lines_of_file(wcoll))
    for value in command_line.excluded:
        _check_names("-x", value, "leave the option out")
        yield from _pieces(value, excludes=True)
    for group in command_line.excluded_groups:
        yield "exclude", _group(group)


def _check_names(option: str, value: str, remedy: str) -> None:
    """Refuse an empty value, such as `-w "$HOSTS"` with the variable unset."""
    if not value.strip(" \t\n,"):
        raise click.UsageError(f"{option} {value!r} names no hosts: {remedy}")


def _pieces(value: str, *, excludes: bool) -> Iterator[tuple[str, str | Line]]:
    """Split off pdsh's `^FILE`, `-`, `-NODES` and `-^FILE`; the text between them is one node set."""
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
        if text == "-":
            yield from ((kind, line) for line in lines_of_standard_input())
        elif text.startswith("^"):
            yield from ((kind, line) for line in lines_of_file(text[1:]))
        elif text.startswith("-^"):
            yield from (("exclude", line) for line in lines_of_file(text[2:]))
        else:
            yield "exclude", text[1:]
    if ordinary:
        yield kind, ",".join(ordinary)


def _group(text: str) -> str:
    return ",".join(f"@{name.strip().removeprefix('@')}" for name in text.split(","))
