"""What the command line says → the `Run` that a supervisor gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sshfan_async.api import checked_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sshfan_async.settings import Run, Ssh
    from sshfan_async.targets import Target

__all__ = ["plan"]


def plan(
    hosts: Iterable[str | Target],
    command: str,
    *,
    user: str | None = None,
    fanout: int = 64,
    connect_timeout: float = 15.0,
    timeout: float = 0.0,
    ssh: Ssh,
) -> Run:
    """Return the run; clocks are in seconds, 0 for none.

    Raises:
        InvalidTarget, InvalidSetting: nothing has been started.

    """
    return checked_run(
        hosts,
        command,
        user=user,
        fanout=fanout,
        connect_timeout=_bound(connect_timeout),
        timeout=_bound(timeout),
        ssh=ssh,
    )


def _bound(seconds: float) -> float | None:
    return None if seconds == 0 else seconds
