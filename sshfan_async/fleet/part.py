"""Some hosts of a fleet: what `Fleet` and `SyncFleet` have in common."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from sshfan_async.engine.run import check_names, checked_run
from sshfan_async.errors import InvalidTarget
from sshfan_async.report import Report
from sshfan_async.settings import CommandOptions
from sshfan_async.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sshfan_async.fleet.home import Home
    from sshfan_async.fleet.pool import Pool
    from sshfan_async.fleet.run import FleetRun
    from sshfan_async.outcome import Outcome
    from sshfan_async.settings import Command
    from sshfan_async.targets import Hosts

__all__ = ["Part", "RunOutcomes"]


class Part:
    """Some hosts of a fleet."""

    def __init__(self, home: Home, members: Mapping[Target, str]) -> None:
        self._home = home
        self._members = members

    @property
    def status(self) -> Report:
        """The state of each connection at this moment, as a report with one outcome per host.

        `ok`: connected. `not_run`: closed because it was not used, or not connected yet. Any other status is why
        there is no connection: it could not be made (`unreachable`, `auth`, …), or was lost (`dropped`). `phases`
        and `attempts` are those of the last connecting.
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

    def _run(
        self, function: str, command: Command, emit: Callable[[Outcome], None], **options: Unpack[CommandOptions]
    ) -> FleetRun:
        from sshfan_async.fleet.run import FleetRun

        check_names(function, options, CommandOptions)
        run = checked_run((), command, ssh=self._home.settings.ssh, **options)
        return FleetRun(replace(run, targets=self._members), emit)


class RunOutcomes:
    """A run's outcomes, gathered in whatever thread they come, and read when the run is over."""

    def __init__(self) -> None:
        self._found: dict[Target, Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        """Add an outcome."""
        self._found[outcome.target] = outcome

    def report(self, members: Iterable[Target]) -> Report:
        """Return the report on `members`, each of which has ended."""
        return Report(tuple(self._found[target] for target in members), finished_at=time.time())
