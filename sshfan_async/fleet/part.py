"""All or some hosts of a fleet: the base of `Fleet` and `SyncFleet`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Unpack

from sshfan_async.engine.run import checked_command
from sshfan_async.errors import InvalidTarget
from sshfan_async.report import Report
from sshfan_async.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sshfan_async.fleet.home import Home
    from sshfan_async.fleet.pool import Pool
    from sshfan_async.fleet.run import FleetRun
    from sshfan_async.outcome import Outcome
    from sshfan_async.settings import Command, CommandOptions
    from sshfan_async.targets import Hosts

__all__ = ["Part", "RunOutcomes"]


class Part:
    """All or some hosts of a fleet."""

    def __init__(self, home: Home, members: Mapping[Target, str]) -> None:
        self._home = home
        self._members = members

    @property
    def status(self) -> Report:
        """The state of each connection now, as a report with one outcome for each host.

        The status is `ok` if the host is connected, and `not_run` if it is not connected yet, or if its connection
        was closed (`idle_timeout`, `max_age`). Any other status says why there is no connection: connecting failed
        (`unreachable`, `auth`, …), or the connection was lost (`dropped`). `phases` and `attempts` describe the last
        attempts to connect. Nothing is sent to the hosts.
        """
        return Report(self._pool.statuses(self._members), finished_at=time.time())

    @property
    def _pool(self) -> Pool:
        if self._home.pool is None:
            raise RuntimeError("this fleet is not open: use it inside its `with` block")
        if self._home.is_in_another_process:
            raise RuntimeError("this fleet was opened in another process: open one after the fork")
        return self._home.pool

    def _subset(self, hosts: Hosts) -> dict[Target, str]:
        chosen = targets(hosts)
        for target, name in chosen.items():
            if target not in self._members:
                raise InvalidTarget(f"{name!r} is not in this fleet")
        return chosen

    def _run(self, command: Command, emit: Callable[[Outcome], None], **options: Unpack[CommandOptions]) -> FleetRun:
        from sshfan_async.fleet.run import FleetRun

        settings = self._home.settings
        connect_timeout = settings.clocks.connect_timeout
        run = checked_command(self._members, command, ssh=settings.ssh, connect_timeout=connect_timeout, **options)
        return FleetRun(run, emit)


class RunOutcomes:
    """Collects the outcomes of a run, from any thread, for its report."""

    def __init__(self) -> None:
        self._found: dict[Target, Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        """Add an outcome."""
        self._found[outcome.target] = outcome

    def report(self, members: Iterable[Target]) -> Report:
        """Return the report on `members`, which must all have an outcome."""
        return Report(tuple(self._found[target] for target in members), finished_at=time.time())
