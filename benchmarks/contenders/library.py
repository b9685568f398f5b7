"""asyncssh, connected to a fleet as the other contenders are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["asyncssh_connection"]


def asyncssh_connection(task: Mapping[str, Any]) -> Any:
    """Return what connects to one host of `task`, to be used with `async with`. It does not read ssh_config."""
    import asyncssh

    return asyncssh.connect(
        task["address"],
        task["port"],
        username=task["user"],
        client_keys=[task["key"]],
        known_hosts=task["known_hosts"],
        kex_algs=["curve25519-sha256"],
        agent_path=None,
        config=None,
    )
