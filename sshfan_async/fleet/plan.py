"""What a fleet is to be, checked once, at the door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshfan_async.errors import InvalidSetting
from sshfan_async.settings import Clocks, Limits, Ssh
from sshfan_async.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Plan", "checked_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Made by `checked_plan`. Clocks are in seconds, None for none."""

    targets: Mapping[Target, str]
    user: str | None
    ssh: Ssh
    fanout: int | None
    connect_timeout: float | None
    idle_timeout: float | None
    max_age: float | None
    sessions: int
    retries: int


def checked_plan(
    hosts: str | Target | Iterable[str | Target],
    *,
    user: str | None,
    ssh: Ssh,
    fanout: int | None,
    connect_timeout: float | None,
    idle_timeout: float | None,
    max_age: float | None,
    sessions: int,
    retries: int,
) -> Plan:
    """Return the plan that the arguments of `Fleet` describe.

    Raises:
        InvalidTarget: a host, or `user`, cannot be used.
        InvalidSetting: another argument cannot be used.

    """
    if not isinstance(ssh, Ssh):
        raise InvalidSetting(f"ssh={ssh!r}: give Ssh(program=..., config_file=..., options=...)")
    if user is not None:
        Target("any", user=user)  # refuses an impossible name here, once for all
    Clocks(connect_timeout=connect_timeout)
    for name, clock in (("idle_timeout", idle_timeout), ("max_age", max_age)):
        try:
            Clocks(deadline=clock)
        except InvalidSetting as error:
            raise InvalidSetting(str(error).replace("deadline", name, 1)) from None
    if not isinstance(sessions, int) or isinstance(sessions, bool) or sessions < 1:
        raise InvalidSetting(f"sessions={sessions!r}: give a whole number, 1 or more")
    if not isinstance(fanout, int) and fanout is not None:
        raise InvalidSetting(f"fanout={fanout!r}: give a whole number, 1 or more, or None for all at once")
    Limits(fanout=fanout, retries=retries)
    return Plan(
        targets=targets(hosts),
        user=user,
        ssh=ssh,
        fanout=fanout,
        connect_timeout=connect_timeout,
        idle_timeout=idle_timeout,
        max_age=max_age,
        sessions=sessions,
        retries=retries,
    )
