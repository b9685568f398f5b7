"""Fold many host names into one short node set, with ClusterShell's NodeSet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["briefly_folded", "folded"]

# Names with a user or a port, and addresses, are not folded: to ClusterShell, `@` and `:` mean groups.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def folded(names: Iterable[str]) -> str:
    """Return `names` as a node set, such as `node[001-004,007],ops@db1:2222`."""
    listed = list(names)
    plain = [name for name in listed if _PLAIN.fullmatch(name)]
    others = [name for name in listed if not _PLAIN.fullmatch(name)]
    if len(plain) < 2:
        return ",".join([*plain, *others])
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return ",".join([str(NodeSet.fromlist(plain, resolver=RESOLVER_NOGROUP)), *others])


def briefly_folded(names: Sequence[str], most: int = 1000) -> str:
    """Return `names` as a node set of at most `most` characters, and the number of names that it leaves out."""
    shown = len(names)
    while len(text := folded(names[:shown])) > most and shown > 1:
        shown = max(1, min(shown // 2, shown * most // len(text)))
    return text if shown == len(names) else f"{text} and {len(names) - shown} more"
