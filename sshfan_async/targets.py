"""Checks the names that a caller gives, and turns them into distinct `Target`s in the order given.

Only known-safe characters are allowed, because `ssh` passes names on. It reads a leading `-` as an option
(CVE-2017-1000117), and `%h` and `%r` reach the shell of ProxyCommand, LocalCommand and Match exec unquoted
(CVE-2023-51385; ssh checks names only since 9.6: ssh.c, valid_hostname and valid_ruser).
"""

from __future__ import annotations

import re
from collections.abc import Generator, ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TypeAlias, TypeGuard, TypeVar

from sshfan_async.errors import InvalidTarget
from sshfan_async.escape import shown

__all__ = ["BRACKETED_ADDRESS", "Hosts", "Names", "Target", "Targets", "check_hosts", "distinct", "finish", "targets"]

T = TypeVar("T")

_MAX_LENGTH = 1024
"""Characters of `[user@]host[:port]`, more than it needs. Longer text is refused before a pattern is tried."""

_HOST = re.compile(r"(?!-)[A-Za-z0-9._-]{1,255}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,200})?")
# The characters that ssh takes (ssh.c: valid_ruser) and no shell changes. A shell reads a leading '#' as a comment,
# and a last '\' as an escape. '@@' and outer '@' mean groups.
_USER = re.compile(r"(?![-#@]|.*@@)[A-Za-z0-9._+=@\\/#-]{1,255}(?<![@\\])")
_PORT = re.compile(r"[0-9]{1,5}")
BRACKETED_ADDRESS = re.compile(r"\[([^\[\]:]*:[^\[\]]*)\](?::(.*))?", re.DOTALL)

_PIECE = 1000
"""Names that are checked in one step."""
_NAME_LINE = r"[A-Za-z0-9._][A-Za-z0-9._-]{0,254}"
_PLAIN = (
    re.compile(rf"(?:{_NAME_LINE}\n)+"),
    re.compile(rf"(?:(?:[A-Za-z0-9._+=][A-Za-z0-9._+=-]{{0,254}}@)?{_NAME_LINE}(?::[1-9][0-9]{{0,3}})?\n)+"),
)
"""Lines that are names as `str(Target)` writes them. To match a piece at once takes 2 to 8 % of parsing each name."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host to run a command on, with an optional user and port.

    `host` is a name, an alias in ssh_config, or an address (IPv6: without brackets, with an optional `%zone`).
    If `user` or `port` is None, ssh_config decides.

    Raises:
        InvalidTarget: `host`, `user` or `port` cannot be used.

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
            raise InvalidTarget(f"port {shown(self.port)} of {shown(self.host)}: give a whole number from 1 to 65535")

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target for `[user@]host[:port]`; surrounding white space is dropped.

        The user ends at the last `@`. An IPv6 address with a port is written `[address]:port`.

        Raises:
            InvalidTarget: `text` is not of that form.

        """
        if not isinstance(text, str):
            raise InvalidTarget(f"{shown(text)} is not text: give a name like 'web1' or 'ops@web1:2222'")
        if len(text) > _MAX_LENGTH:
            raise InvalidTarget(f"{shown(text)} is longer than {_MAX_LENGTH} characters: give a name like 'web1'")
        text = text.strip()
        if "://" in text:
            raise InvalidTarget(f"{shown(text)} is a URL: write [user@]host[:port] instead")
        user, at, address = text.rpartition("@")
        host, port = _split_port(address)
        if at and not user:
            raise InvalidTarget(f"{shown(text)} has no user before '@': expand a group with nodes()")
        if not host:
            raise InvalidTarget(f"{shown(text)} names no host: write [user@]host[:port]")
        if port is not None and not _PORT.fullmatch(port):
            raise InvalidTarget(f"{shown(text)} has no port number after ':': give 1 to 65535")
        return cls(host, user if at else None, None if port is None else int(port))

    def __str__(self) -> str:
        """Return the target as text that `parse` accepts."""
        user = "" if self.user is None else f"{self.user}@"
        if self.port is None:
            return f"{user}{self.host}"
        return f"{user}[{self.host}]:{self.port}" if ":" in self.host else f"{user}{self.host}:{self.port}"


Hosts: TypeAlias = str | Target | Iterable[str | Target]
"""The targets of a run: one name, one `Target`, or an iterable of them. A name is not expanded as a node set."""


Names: TypeAlias = tuple[str, ...] | list[tuple[str, str]]
"""Checked names: the texts of targets, or pairs of a target's text and its name."""


class Targets(Mapping[Target, str]):
    """Distinct targets in the order given, each with the first name that was given for it.

    It holds text only, and makes a `Target` each time one is asked for: the garbage collector visits every `Target`
    that exists, which takes 30 ms for 100,000 of them.
    """

    __slots__ = ("names", "texts")

    def __init__(self, texts: tuple[str, ...], names: dict[str, str]) -> None:
        """`texts`: each target as `str` writes it. `names`: the names that differ, by that text."""
        self.texts = texts
        self.names = names

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Target]:
        return map(_parsed, self.texts)

    def __getitem__(self, target: object) -> str:
        text = str(target)
        if not isinstance(target, Target) or text not in self.texts:
            raise KeyError(target)
        return self.names.get(text, text)

    def items(self) -> ItemsView[Target, str]:
        """Return the pairs of a target and its name."""
        return _Items(self)

    def values(self) -> ValuesView[str]:
        """Return the names."""
        return _Names(self)

    def at(self, position: int) -> tuple[Target, str]:
        """Return the target at `position`, and its name."""
        text = self.texts[position]
        return _parsed(text), self.names.get(text, text)


class _Items(ItemsView[Target, str]):
    _mapping: Targets

    def __iter__(self) -> Iterator[tuple[Target, str]]:
        return map(self._mapping.at, range(len(self._mapping)))


class _Names(ValuesView[str]):
    _mapping: Targets

    def __iter__(self) -> Iterator[str]:
        return map(self._mapping.names.get, self._mapping.texts, self._mapping.texts)


def targets(hosts: Hosts) -> dict[Target, str]:
    """Return the distinct targets in the order given, each with the first name that was given for it.

    Raises:
        InvalidTarget: a name cannot be used, or `hosts` is something else.

    """
    return dict(finish(distinct(finish(check_hosts(hosts)))).items())


def check_hosts(hosts: Hosts) -> Generator[None, None, list[Names]]:
    """Check each name, in steps that take 5 ms at most; `distinct` takes the result of the generator.

    `hosts` is read in the first step, so the caller may change it later.

    Raises:
        InvalidTarget: a name cannot be used, or `hosts` is something else.

    """
    if isinstance(hosts, str | Target):
        hosts = (hosts,)
    if isinstance(hosts, bytes | bytearray | Mapping) or not isinstance(hosts, Iterable):
        raise InvalidTarget(f"{shown(hosts)} names no hosts: give a name, a Target, or an iterable of them")
    given = tuple(hosts)
    del hosts
    checked: list[Names] = []
    for start in range(0, len(given), _PIECE):
        if start > 0:
            yield
        piece = given[start : start + _PIECE]
        checked.append(piece if _are_plain(piece) else [_checked(each) for each in piece])
    return checked


def distinct(checked: list[Names]) -> Generator[None, None, Targets]:
    """Find the distinct targets, in steps as `check_hosts`."""
    texts: dict[str, None] = {}
    names: dict[str, str] = {}
    for number, piece in enumerate(checked):
        if number > 0:
            yield
        if isinstance(piece, tuple):
            for text in piece:
                texts[text] = None
            continue
        for text, name in piece:
            if text not in texts:
                texts[text] = None
                if name != text:
                    names[text] = name
    return Targets(tuple(texts), names)


def finish(steps: Generator[None, None, T]) -> T:
    """Take all steps of a check at once, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def _are_plain(piece: tuple[object, ...]) -> TypeGuard[tuple[str, ...]]:
    """Whether each of `piece` is the text of a target, as `str` writes it."""
    if set(map(type, piece)) != {str}:
        return False
    lines = "\n".join((*piece, ""))  # type: ignore[arg-type]
    return lines.count("\n") == len(piece) and any(pattern.fullmatch(lines) for pattern in _PLAIN)


def _checked(each: str | Target) -> tuple[str, str]:
    if isinstance(each, Target):
        text = str(each)
        return text, text
    return str(Target.parse(each)), each.strip()


def _parsed(text: str) -> Target:
    """Return the target whose text, as `str` writes it, is `text`, without another check."""
    user, at, address = text.rpartition("@")
    host, port = _split_port(address) if ":" in address else (address, None)
    target = object.__new__(Target)
    set_field = object.__setattr__
    set_field(target, "host", host)
    set_field(target, "user", user if at else None)
    set_field(target, "port", None if port is None else int(port))
    return target


def _split_port(address: str) -> tuple[str, str | None]:
    bracketed = BRACKETED_ADDRESS.fullmatch(address)
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
    name = shown(host)
    if not isinstance(host, str):
        return f"{name} is not text: give a host name"
    if not host:
        return f"{name} names no host: give a host name"
    if host.startswith("-"):
        return f"{name} starts with '-', so ssh could read it as an option: give a host name"
    if any(mark in host for mark in "[]*?,!&^"):
        return f"{name} is not a single host: expand a node set with nodes(); [ ] are for [IPv6 address]:port"
    if "@" in host:
        return f"{name} contains a user: give it separately, as in Target('web1', user='ops')"
    odd = re.search(r"[^A-Za-z0-9._:%-]", host)
    if odd is not None:
        return f"{name} contains {odd[0]!a}: a host name has ASCII letters, digits, '.', '-' and '_' only"
    if ":" in host or "%" in host:
        return f"{name} is not an IPv6 address: write name, name:port, address%zone or [address]:port"
    return f"{name} is longer than 255 characters: give a host name"


def _wrong_with_user(user: object) -> str:
    if not isinstance(user, str):
        return f"user {shown(user)} is not text: give a user name or None"
    if ":" in user:  # the part after it may be a password, so it is not shown
        return f"user {shown(user.partition(':')[0])} is followed by ':': give the user name only, without a password"
    name = shown(user)
    if not user:
        return f"user {name} is empty: give a user name or None"
    if user.startswith("-"):
        return f"user {name} starts with '-', so ssh could read it as an option: give a user name"
    odd = re.search(r"[^A-Za-z0-9._+=@\\/#-]", user)
    if odd is not None:
        return f"user {name} contains {odd[0]!a}: use ASCII letters, digits and . _ - + = @ # / \\ only"
    if len(user) > 255:
        return f"user {name} is longer than 255 characters: give a user name"
    if "@@" in user or user[0] == "@" or user[-1] == "@":
        return f"user {name} has one '@' too many: expand a group with nodes()"
    return f"user {name} starts with '#' or ends with '\\': give a user name"
