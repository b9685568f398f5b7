"""What a user names -> validated, de-duplicated `Target`s in order; pure, knows no ssh.

Names are checked by what is allowed, because `ssh` hands them on: a leading `-` reads as an option
(CVE-2017-1000117), and `%h` and `%r` reach the shell of ProxyCommand, LocalCommand and Match exec unquoted
(CVE-2023-51385; the client itself checks only since 9.6: ssh.c, valid_hostname and valid_ruser).
"""

from __future__ import annotations

import os
import re
import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, TypeAlias

from sshfan_async.errors import InvalidTarget

__all__ = ["Hosts", "Target", "nodes", "targets"]

_HOST = re.compile(r"(?!-)[A-Za-z0-9._-]{1,255}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,200})?")
# A leading '#' starts a comment in a shell, a last '\' escapes what follows; '@@' and outer '@' mean groups.
_USER = re.compile(r"(?![-#@]|.*@@)[A-Za-z0-9._+@\\#-]{1,255}(?<![@\\])")
_PORT = re.compile(r"[0-9]{1,5}")
_BRACKETED_ADDRESS = re.compile(r"\[([^\[\]]*:[^\[\]]*)\](?::(.*))?", re.DOTALL)

_PASSWORD = re.compile(r"\A([^:]*):.*@", re.DOTALL)
_SHOWN = 80  # characters

_PIECE = re.compile(r"((?:\[[^\]]*\]?|[^,!&^\[]+)*)([,!&^]?)")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]{1,255})(?:-([0-9]{1,255})(?:/([0-9]{1,255}))?)?")
# ClusterShell pastes a group's name into a shell command unquoted (NodeUtils.py, UpcallGroupSource).
_GROUP = re.compile(r"@(?:[A-Za-z0-9_][A-Za-z0-9_.-]*:)?(?:\*|[A-Za-z0-9_][A-Za-z0-9_.+=:-]*)")


@dataclass(frozen=True, slots=True)
class Target:
    """One place to run: a host, and optionally a user and a port.

    `host` is a name or an address as ssh_config knows it (an IPv6 address without brackets, with an optional
    `%zone`); a `user` or `port` of None leaves that to ssh_config. Raises `InvalidTarget`.
    """

    host: str
    user: str | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        if not _is_host(self.host):
            raise InvalidTarget(_wrong_with_host(self.host))
        if self.user is not None and not (isinstance(self.user, str) and _USER.fullmatch(self.user)):
            raise InvalidTarget(_wrong_with_user(self.user))
        if self.port is not None and not (type(self.port) is int and 1 <= self.port <= 65535):
            raise InvalidTarget(
                f"port {_shown(self.port)} of {_shown(self.host)}: give a whole number from 1 to 65535"
            )

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target that `[user@]host[:port]` names; raises `InvalidTarget`.

        The user ends at the last `@`. An IPv6 address with a port is written `[address]:port`.
        """
        if not isinstance(text, str):
            raise InvalidTarget(f"{_shown(text)} is no text: give a name like 'web1' or 'ops@web1:2222'")
        if "://" in text:
            raise InvalidTarget(f"{_shown(text)} is a URL: write [user@]host[:port] instead")
        user, at, address = text.rpartition("@")
        host, port = _split_port(address)
        if at and not user:
            raise InvalidTarget(f"{_shown(text)} names no user: a group is expanded with nodes()")
        if not host:
            raise InvalidTarget(f"{_shown(text)} names no host: write [user@]host[:port]")
        if port is not None and not _PORT.fullmatch(port):
            raise InvalidTarget(f"{_shown(text)} has no port number after ':': give 1 to 65535")
        return cls(host, user if at else None, None if port is None else int(port))

    def __str__(self) -> str:
        """Return the text form, which `parse` takes back."""
        user = "" if self.user is None else f"{self.user}@"
        if self.port is None:
            return f"{user}{self.host}"
        return f"{user}[{self.host}]:{self.port}" if ":" in self.host else f"{user}{self.host}:{self.port}"


Hosts: TypeAlias = str | Target | Iterable[str | Target]
"""What names the targets of a run: one literal name, one `Target`, or an iterable of them."""


def targets(hosts: Hosts) -> dict[Target, str]:
    """Return the distinct targets in the order given, each with the name that first named it.

    A string is one literal name, never a node set (see `nodes`). Raises `InvalidTarget`.
    """
    if isinstance(hosts, str | Target):
        hosts = (hosts,)
    if isinstance(hosts, bytes | bytearray | Mapping) or not isinstance(hosts, Iterable):
        raise InvalidTarget(f"{_shown(hosts)} names no hosts: give a name, a Target, or an iterable of them")
    found: dict[Target, str] = {}
    for each in hosts:
        if isinstance(each, Target):
            found.setdefault(each, str(each))
        else:
            found.setdefault(Target.parse(each), each)
    return found


def nodes(text: str, *, limit: int = 100_000) -> list[Target]:
    """Expand a node set, `web[1-20],ops@db[01-04]:2222!web7,@rack3`, with ClusterShell and its groups.

    Operators take effect from left to right: `,` adds, `!` removes, `&` keeps what both sides name, `^` what
    only one side names. Operands keep the order written; within one, the order is ClusterShell's. `user@` may
    stand before any operand, a group (`ops@@rack3`) included; IPv6 addresses are operands too.

    Raises `InvalidTarget`: no host named, an unknown group, a wildcard without a match, a name that cannot be
    a `Target`, or more than `limit` targets in an operand's ranges or after an operand.
    Blocks while it reads ClusterShell's configuration and runs the commands of its group sources.
    """
    if not isinstance(text, str):
        raise InvalidTarget(f"{_shown(text)} is no text: give a node set like 'web[1-20],@db'")
    if not text.strip():
        raise InvalidTarget(f"{_shown(text)} names no host: give a node set like 'web[1-20],@db'")
    found: dict[Target, None] = {}
    for operator, piece in _pieces(text):
        if not piece:
            raise InvalidTarget(f"{_shown(text)} lacks a name: write one on both sides of , ! & ^")
        found = _combine(found, operator, dict.fromkeys(_expand(piece, limit)))
        if len(found) > limit:
            raise InvalidTarget(_too_many(text, limit))
    if not found:
        raise InvalidTarget(f"{_shown(text)} names no host: empty groups, or all are excluded")
    return list(found)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield each operand with the operator before it, as ClusterShell splits them: outside brackets only."""
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
    if _BRACKETED_ADDRESS.fullmatch(names) or not any(mark in names for mark in "@*?[]"):
        return [Target.parse(piece)]
    outline = _BRACKETS.sub("0", names)
    if not names.isascii() or "[" in outline or "]" in outline:
        raise InvalidTarget(f"{_shown(piece)} is no node set: write ASCII names and ranges like web[1-20,31]")
    if not outline.strip("*?"):
        raise InvalidTarget(
            f"{_shown(piece)} would match every host: write @* if you mean all that ClusterShell knows"
        )
    if names.startswith("@") and not _GROUP.fullmatch(outline):
        raise InvalidTarget(f"{_shown(piece)} is no group: write @name, @source:name or @*")
    _check_size(names, limit)
    try:
        from ClusterShell.NodeSet import NodeSet

        expanded = list(NodeSet(names, resolver=_Groups(limit)))
    except InvalidTarget as refusal:  # from _Groups; the group that it names may be one inside `piece`
        named = "" if _shown(names) in str(refusal) else f" (named by {_shown(piece)})"
        raise InvalidTarget(f"{refusal}{named}") from None
    except Exception as error:  # also AssertionError (add_range) and errors of group sources
        said = _shown(str(error) or type(error).__name__)
        raise InvalidTarget(f"{_shown(piece)} cannot be expanded, ClusterShell says: {said}") from error
    if not expanded and not names.startswith("@"):
        raise InvalidTarget(f"{_shown(piece)} matches no host that ClusterShell knows (see `nodeset -f @*`)")
    parsed = map(Target.parse, expanded)
    return list(parsed) if user is None else [Target(each.host, user, each.port) for each in parsed]


def _split_user(piece: str) -> tuple[str | None, str]:
    """Split `user@names` and `user@@group`, where ClusterShell would take the user as part of the names."""
    if piece.startswith("@"):
        return None, piece
    user, at, group = piece.partition("@@")
    if at:
        return user, f"@{group}"
    user, at, names = piece.rpartition("@")
    return (user if at else None), names


def _check_size(names: str, limit: int) -> None:
    """Refuse ranges of more than `limit` names: ClusterShell holds every number of a range in memory."""
    size = 1
    for brackets in _BRACKETS.finditer(names):
        numbers = 0
        widths = set()
        for part in brackets[1].split(","):
            match = _RANGE.fullmatch(part.strip())
            if match is None:
                raise InvalidTarget(f"{_shown(names)} holds the range {_shown(part)}: write 1-20 or 01-20/2")
            first, last, step = match[1], match[2] or match[1], match[3] or "1"
            numbers += max(int(last) - int(first), 0) // max(int(step), 1) + 1
            widths |= {len(first), len(last)}
        # RangeSet joins 9,10 to 9-10 and then puts the digits before: web1[9,10] would be web19 to web110.
        if len(widths) > 1 and names[max(brackets.start() - 1, 0)].isdigit():
            raise InvalidTarget(f"{_shown(names)} is ambiguous: move the digits before '[' into it")
        size *= numbers
        if size > limit:
            raise InvalidTarget(_too_many(names, limit))


def group_resolver() -> Any:
    """Return ClusterShell's group resolver, less the example that its package installs beside a Python of its own.

    That one has made-up hosts, in its default group too (ClusterShell: Defaults.py, config_paths).
    """
    from ClusterShell.NodeSet import std_group_resolver
    from ClusterShell.NodeUtils import GroupResolverConfig

    resolver = std_group_resolver()
    example = os.path.join(sys.prefix, "etc/clustershell/groups.conf")
    files = getattr(resolver, "filenames", ())  # one that the application has set may read none
    return GroupResolverConfig([path for path in files if path != example]) if example in files else resolver


class _Groups:
    """ClusterShell's default group resolver made strict: an unknown group is not the same as an empty one."""

    def __init__(self, limit: int) -> None:
        self._resolver = group_resolver()
        self._limit = limit

    def group_nodes(self, group: str, namespace: str | None = None) -> list[str]:
        from ClusterShell.NodeUtils import GroupResolverSourceError, GroupSourceError

        name = _shown(f"@{namespace}:{group}" if namespace else f"@{group}")
        try:
            names = self._resolver.group_nodes(group, namespace)
        except GroupResolverSourceError:
            raise InvalidTarget(f"{name} is of no group source in ClusterShell's groups.conf") from None
        except GroupSourceError as error:
            raise InvalidTarget(
                f"{name} cannot be looked up, its group source failed: {_shown(str(error))}"
            ) from error
        if not names and not self._lists(group, namespace):
            raise InvalidTarget(f"{name} is an unknown group: `nodeset -L` lists the known ones")
        return self._checked(names)

    def all_nodes(self, namespace: str | None = None) -> list[str]:
        return self._checked(self._resolver.all_nodes(namespace))

    def grouplist(self, namespace: str | None = None) -> list[str]:
        listed: list[str] = self._resolver.grouplist(namespace)
        return listed

    def _lists(self, group: str, namespace: str | None) -> bool:
        from ClusterShell.NodeSet import NodeSetException, grouplist
        from ClusterShell.NodeUtils import GroupResolverError, GroupSourceError

        try:
            return group in grouplist(namespace, self._resolver)
        except (NodeSetException, GroupResolverError, GroupSourceError):
            return False  # a source that cannot list its groups

    def _checked(self, names: list[str]) -> list[str]:
        for _, piece in _pieces(",".join(names)):
            _check_size(piece, self._limit)
        return names


def _split_port(address: str) -> tuple[str, str | None]:
    bracketed = _BRACKETED_ADDRESS.fullmatch(address)
    if bracketed is not None:
        return bracketed[1], bracketed[2]
    if address.count(":") != 1:
        return address, None
    host, _, port = address.partition(":")
    return host, port


def _is_host(host: object) -> bool:
    return isinstance(host, str) and (_HOST.fullmatch(host) is not None or _is_ipv6(host))


def _is_ipv6(host: str) -> bool:
    if not _IPV6.fullmatch(host):
        return False
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _wrong_with_host(host: object) -> str:
    shown = _shown(host)
    if not isinstance(host, str):
        return f"{shown} is no text: give a host name"
    if not host:
        return f"{shown} names no host: give a host name"
    if host.startswith("-"):
        return f"{shown} starts with '-', so ssh could read it as an option: give a host name"
    if any(mark in host for mark in "[]*?,!&^"):
        return f"{shown} is no single host: expand a node set with nodes(); [ ] are for [IPv6 address]:port"
    if "@" in host:
        return f"{shown} holds a user: give it apart, as in Target('web1', user='ops')"
    odd = re.search(r"[^A-Za-z0-9._:%-]", host)
    if odd is not None:
        return f"{shown} holds {odd[0]!a}: a host name has ASCII letters, digits, '.', '-' and '_' only"
    if ":" in host or "%" in host:
        return f"{shown} is no IPv6 address: write name, name:port, address%zone or [address]:port"
    return f"{shown} is longer than 255 characters: give a host name"


def _wrong_with_user(user: object) -> str:
    if not isinstance(user, str):
        return f"user {_shown(user)} is no text: give a user name or None"
    if ":" in user:  # what follows may be a password
        return f"user {_shown(user.partition(':')[0])} is followed by ':': leave out what may be a password"
    shown = _shown(user)
    if not user:
        return f"user {shown} is empty: give a user name or None"
    if user.startswith("-"):
        return f"user {shown} starts with '-', so ssh could read it as an option: give a user name"
    odd = re.search(r"[^A-Za-z0-9._+@\\#-]", user)
    if odd is not None:
        return f"user {shown} holds {odd[0]!a}: use ASCII letters, digits and . _ - + @ # \\ only"
    if len(user) > 255:
        return f"user {shown} is longer than 255 characters: give a user name"
    if "@@" in user or user[0] == "@" or user[-1] == "@":
        return f"user {shown} has an '@' too many: a group is expanded with nodes()"
    return f"user {shown} starts with '#' or ends with '\\': give a user name"


def _too_many(text: str, limit: int) -> str:
    return f"{_shown(text)} names more than {limit} hosts: name fewer, or give nodes() a higher limit"


def _shown(value: object) -> str:
    """Return `value` in one short line of ASCII, without what may be a password (`user:password@host`)."""
    text = ascii(reprlib.repr(value))[1:-1]
    if isinstance(value, str):
        text = ascii(_PASSWORD.sub(r"\1:...@", value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
