"""What the command line says → the `Run` that a supervisor gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sshfan_async.launch import command_text
from sshfan_async.settings import Clocks, Limits, OnStop, Run
from sshfan_async.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sshfan_async.settings import Ssh

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
    if user is not None:
        Target("any", user=user)  # refuses an impossible name here, once for all
    return Run(
        targets=targets(hosts),
        command=command_text(command),
        user=user,
        ssh=ssh,
        clocks=Clocks(connect_timeout=_bound(connect_timeout), timeout=_bound(timeout)),
        limits=Limits(fanout=fanout),
        stdin=None,
        on_stop=OnStop.KILL,
    )


def _bound(seconds: float) -> float | None:
    return None if seconds == 0 else seconds
