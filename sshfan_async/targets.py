"""Checks the names that a caller gives, and turns them into distinct `Target`s in the order given.

Only known-safe characters are allowed, because `ssh` passes names on. It reads a leading `-` as an option
(CVE-2017-1000117), and `%h` and `%r` reach the shell of ProxyCommand, LocalCommand and Match exec unquoted
(CVE-2023-51385; ssh checks names only since 9.6: ssh.c, valid_hostname and valid_ruser).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TypeAlias

from sshfan_async.errors import InvalidTarget
from sshfan_async.escape import shown

__all__ = ["BRACKETED_ADDRESS", "Hosts", "Target", "targets"]

_MAX_LENGTH = 1024
"""Characters of `[user@]host[:port]`, more than it needs. Longer text is refused before a pattern is tried."""

_HOST = re.compile(r"(?!-)[A-Za-z0-9._-]{1,255}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,200})?")
# The characters that ssh takes (ssh.c: valid_ruser) and no shell changes. A shell reads a leading '#' as a comment,
# and a last '\' as an escape. '@@' and outer '@' mean groups.
_USER = re.compile(r"(?![-#@]|.*@@)[A-Za-z0-9._+=@\\/#-]{1,255}(?<![@\\])")
_PORT = re.compile(r"[0-9]{1,5}")
BRACKETED_ADDRESS = re.compile(r"\[([^\[\]:]*:[^\[\]]*)\](?::(.*))?", re.DOTALL)


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


def targets(hosts: Hosts) -> dict[Target, str]:
    """Return the distinct targets in the order given, each with the first name that was given for it.

    Raises:
        InvalidTarget: a name cannot be used, or `hosts` is something else.

    """
    if isinstance(hosts, str | Target):
        hosts = (hosts,)
    if isinstance(hosts, bytes | bytearray | Mapping) or not isinstance(hosts, Iterable):
        raise InvalidTarget(f"{shown(hosts)} names no hosts: give a name, a Target, or an iterable of them")
    found: dict[Target, str] = {}
    for each in hosts:
        if isinstance(each, Target):
            found.setdefault(each, str(each))
        else:
            found.setdefault(Target.parse(each), each.strip())
    return found


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
