"""Expands node sets and groups, as pdsh and clush write them, into `Target`s with ClusterShell.

ClusterShell is imported only for names that need it, because the import takes 35 ms. Plain host names do not.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from sshfan_async.errors import InvalidTarget
from sshfan_async.escape import shown
from sshfan_async.targets import BRACKETED_ADDRESS, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Expansion", "group_names", "group_resolver", "nodes"]

_PIECE = re.compile(r"((?:\[[^\]]*\]?|[^,!&^\[]+)*)([,!&^]?)")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]{1,255})(?:-([0-9]{1,255})(?:/([0-9]{1,255}))?)?")
# ClusterShell puts a group's name into a shell command unquoted (NodeUtils.py, UpcallGroupSource).
_GROUP = re.compile(r"@(?:[A-Za-z0-9_][A-Za-z0-9_.-]*:)?(?:\*|[A-Za-z0-9_][A-Za-z0-9_.+=:-]*)")
_GROUP_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=:-]{0,254}")

_MAX_LENGTH = 4 * 1024 * 1024
"""Characters of a node set: room for `limit` long names."""
_MAX_BRACKETS = 16
"""Brackets in one operand: ClusterShell's time grows with their square."""


def nodes(text: str, *, limit: int = 100_000) -> list[Target]:
    """Expand a node set such as `web[1-20],ops@db[01-04]:2222!web7,@rack3` into targets.

    Operators apply from left to right: `,` adds, `!` removes, `&` keeps the targets that both sides name, and `^`
    those that only one side names. Operands keep their order; ClusterShell orders the names of one operand. `user@`
    may precede any operand, also a group (`ops@@rack3`). An operand may be an IPv6 address.

    Blocks while ClusterShell reads its configuration and runs the commands of its group sources.

    Raises:
        InvalidTarget: the set is empty, a group is unknown, a wildcard matches nothing, a name cannot be a `Target`,
            the set has more than `limit` targets, or its operands name more than twice as many.

    """
    return Expansion(limit).expand(text)


class Expansion:
    """Expands node sets within one budget: a target counts each time that an operand names it."""

    def __init__(self, limit: int = 100_000) -> None:
        """`limit`: targets that one set may have; all operands together may name twice as many."""
        self._limit = limit
        self._left = 2 * limit

    def expand(self, text: str) -> list[Target]:
        """Return the targets of a node set, as `nodes` does.

        Raises:
            InvalidTarget: as `nodes`; or all sets together name too many targets.

        """
        if not isinstance(text, str):
            raise InvalidTarget(f"{shown(text)} is not text: give a node set like 'web[1-20],@db'")
        if len(text) > _MAX_LENGTH:
            raise InvalidTarget(f"{shown(text)} is longer than {_MAX_LENGTH} characters: name the hosts in a file")
        if not text.strip():
            raise InvalidTarget(f"{shown(text)} names no host: give a node set like 'web[1-20],@db'")
        found: dict[Target, None] = {}
        for operator, piece in _pieces(text):
            if not piece:
                raise InvalidTarget(f"{shown(text)} is missing a name: write one on both sides of , ! & ^")
            named = dict.fromkeys(_expand(piece, self._limit))
            self._left -= len(named)
            if self._left < 0:
                raise InvalidTarget(
                    f"{shown(text)} is too much: all node sets together name more than {2 * self._limit} hosts"
                )
            found = _combine(found, operator, named)
            if len(found) > self._limit:
                raise InvalidTarget(_too_many(text, self._limit))
        if not found:
            raise InvalidTarget(f"{shown(text)} names no host: its groups are empty, or all hosts are excluded")
        return list(found)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield each operand with the operator before it. As in ClusterShell, brackets are not split."""
    operator = ","
    for match in _PIECE.finditer(text):
        yield operator, match[1].strip()
        operator = match[2]
        if not operator:
            return


def _combine(found: dict[Target, None], operator: str, named: dict[Target, None]) -> dict[Target, None]:
    if operator == ",":
        found.update(named)
    elif operator == "&":
        return {target: None for target in found if target in named}
    else:
        for target in named:
            if target in found:
                del found[target]
            elif operator == "^":
                found[target] = None
    return found


def _expand(piece: str, limit: int) -> list[Target]:
    user, names = _split_user(piece)
    if BRACKETED_ADDRESS.fullmatch(names) or not any(mark in names for mark in "@*?[]"):
        return [Target.parse(piece)]
    outline = _BRACKETS.sub("0", names)
    if not names.isascii() or "[" in outline or "]" in outline:
        raise InvalidTarget(f"{shown(piece)} is not a node set: write ASCII names and ranges like web[1-20,31]")
    if not outline.strip("*?"):
        raise InvalidTarget(
            f"{shown(piece)} would match every host: write @* if you mean all hosts that ClusterShell knows"
        )
    if names.startswith("@") and not _GROUP.fullmatch(outline):
        raise InvalidTarget(f"{shown(piece)} is not a group: write @name, @source:name or @*")
    _check_size(names, limit)
    try:
        from ClusterShell.NodeSet import NodeSet

        expanded = list(NodeSet(names, resolver=_Groups(limit)))
    except InvalidTarget as refusal:  # from _Groups; a group of `piece` may contain the group that it names
        named = "" if shown(names) in str(refusal) else f" (named by {shown(piece)})"
        raise InvalidTarget(f"{refusal}{named}") from None
    except Exception as error:  # also AssertionError (add_range) and errors of group sources
        why = shown(str(error) or type(error).__name__)
        raise InvalidTarget(f"{shown(piece)} cannot be expanded, ClusterShell says: {why}") from error
    if not expanded and not names.startswith("@"):
        raise InvalidTarget(f"{shown(piece)} matches no host that ClusterShell knows (see `nodeset -f @*`)")
    parsed = map(Target.parse, expanded)
    return list(parsed) if user is None else [Target(each.host, user, each.port) for each in parsed]


def _split_user(piece: str) -> tuple[str | None, str]:
    """Split `user@names` and `user@@group`: ClusterShell would read the user as part of the names."""
    if piece.startswith("@"):
        return None, piece
    user, at, group = piece.partition("@@")
    if at:
        return user, f"@{group}"
    user, at, names = piece.rpartition("@")
    return (user if at else None), names


def _check_size(names: str, limit: int) -> None:
    """Raise InvalidTarget for more than `limit` names: ClusterShell holds every number of a range in memory."""
    size = 1
    if names.count("[") > _MAX_BRACKETS:
        raise InvalidTarget(f"{shown(names)} has more than {_MAX_BRACKETS} brackets: write several node sets")
    for brackets in _BRACKETS.finditer(names):
        numbers = 0
        widths = set()
        for part in brackets[1].split(","):
            match = _RANGE.fullmatch(part.strip())
            if match is None:
                raise InvalidTarget(f"{shown(names)} contains the range {shown(part)}: write 1-20 or 01-20/2")
            first, last, step = match[1], match[2] or match[1], match[3] or "1"
            numbers += max(int(last) - int(first), 0) // max(int(step), 1) + 1
            widths |= {len(first), len(last)}
        # RangeSet joins 9,10 to 9-10 and then prepends the digits: web1[9,10] would be web19 to web110.
        if len(widths) > 1 and names[max(brackets.start() - 1, 0)].isdigit():
            raise InvalidTarget(f"{shown(names)} is ambiguous: move the digits before '[' into the brackets")
        size *= numbers
        if size > limit:
            raise InvalidTarget(_too_many(names, limit))


def group_names() -> list[str]:
    """Return the groups of ClusterShell's default source, sorted; names that no group can have are left out.

    Raises:
        Exception: of any class; the configuration or the group source fails.

    """
    from ClusterShell.NodeSet import grouplist

    return sorted(filter(_GROUP_NAME.fullmatch, grouplist(resolver=group_resolver())))


def group_resolver() -> Any:
    """Return ClusterShell's group resolver, without the example configuration of its package.

    In a virtual environment, ClusterShell installs and reads an example groups.conf with invented hosts, also in its
    default group (ClusterShell: Defaults.py, config_paths).
    """
    from ClusterShell.NodeSet import std_group_resolver
    from ClusterShell.NodeUtils import GroupResolverConfig

    resolver = std_group_resolver()
    example = os.path.join(sys.prefix, "etc/clustershell/groups.conf")
    files = getattr(resolver, "filenames", ())  # a resolver that the application set may have no files
    return GroupResolverConfig([path for path in files if path != example]) if example in files else resolver


class _Groups:
    """ClusterShell's group resolver, which also refuses unknown groups: ClusterShell treats them as empty."""

    def __init__(self, limit: int) -> None:
        self._resolver = group_resolver()
        self._limit = limit

    def group_nodes(self, group: str, namespace: str | None = None) -> list[str]:
        from ClusterShell.NodeUtils import GroupResolverSourceError, GroupSourceError

        name = shown(f"@{namespace}:{group}" if namespace else f"@{group}")
        # A group can be named inside the data of another one, or come from the list of a group source.
        if not _GROUP_NAME.fullmatch(group):
            raise InvalidTarget(f"{name} cannot be the name of a group: use letters, digits and _ . + = : - only")
        try:
            names = self._resolver.group_nodes(group, namespace)
        except GroupResolverSourceError:
            raise InvalidTarget(
                f"{name} has an unknown group source: `nodeset --groupsources` lists the known ones"
            ) from None
        except GroupSourceError as error:
            raise InvalidTarget(
                f"{name} cannot be looked up, its group source failed: {shown(str(error))}"
            ) from error
        if not names and not self._lists(group, namespace):
            raise InvalidTarget(f"{name} is an unknown group: `nodeset -L` lists the known ones")
        return self._checked(names)

    def all_nodes(self, namespace: str | None = None) -> list[str]:
        return self._checked(self._resolver.all_nodes(namespace))

    def grouplist(self, namespace: str | None = None) -> list[str]:
        return list(filter(_GROUP_NAME.fullmatch, self._resolver.grouplist(namespace)))

    def _lists(self, group: str, namespace: str | None) -> bool:
        from ClusterShell.NodeSet import NodeSetException, grouplist
        from ClusterShell.NodeUtils import GroupResolverError, GroupSourceError

        try:
            return group in grouplist(namespace, self._resolver)
        except (NodeSetException, GroupResolverError, GroupSourceError):
            return False  # this source cannot list its groups

    def _checked(self, names: list[str]) -> list[str]:
        for _, piece in _pieces(",".join(names)):
            _check_size(piece, self._limit)
        return names


def _too_many(text: str, limit: int) -> str:
    return f"{shown(text)} names more than {limit} hosts: name fewer, or give nodes() a higher limit"
