"""The settings of a fleet, checked when the fleet is created."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

from sshfan_async.engine.run import check_ssh, check_user
from sshfan_async.errors import InvalidSetting
from sshfan_async.settings import Clocks, Limits, Ssh, checked_count
from sshfan_async.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sshfan_async.targets import Hosts

__all__ = ["FleetOptions", "FleetSettings", "checked_settings"]


class FleetOptions(TypedDict, total=False):
    """The keyword options of `Fleet` and `SyncFleet`."""

    ssh: Ssh
    fanout: int | None
    connect_timeout: float | None
    idle_timeout: float | None
    max_age: float | None
    sessions: int
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The checked arguments of a fleet, from `checked_settings`. Times are in seconds, None for no limit."""

    targets: Mapping[Target, str]
    user: str | None
    ssh: Ssh
    clocks: Clocks
    fanout: int | None
    retries: int
    idle_timeout: float | None
    max_age: float | None
    sessions: int


def checked_settings(hosts: Hosts, user: str | None, **options: Unpack[FleetOptions]) -> FleetSettings:
    """Return the settings that the arguments of `Fleet` describe.

    Raises:
        InvalidTarget: a host, or `user`, cannot be used.
        InvalidSetting: another argument cannot be used.

    """
    ssh = options.get("ssh", Ssh())
    check_ssh(ssh)
    check_user(user)
    clocks = Clocks(connect_timeout=options.get("connect_timeout", 30.0))
    fanout, sessions = options.get("fanout", 64), checked_count("sessions", options.get("sessions", 10), least=1)
    if fanout is not None:
        fanout = checked_count("fanout", fanout, least=1)
    return FleetSettings(
        targets=targets(hosts),
        user=user,
        ssh=ssh,
        clocks=clocks,
        fanout=fanout,
        retries=Limits(retries=options.get("retries", 2)).retries,
        idle_timeout=_clock("idle_timeout", options.get("idle_timeout")),
        max_age=_clock("max_age", options.get("max_age")),
        sessions=sessions,
    )


def _clock(name: str, seconds: float | None) -> float | None:
    try:
        return Clocks(deadline=seconds).deadline
    except InvalidSetting as error:
        raise InvalidSetting(str(error).replace("deadline", name, 1)) from None
