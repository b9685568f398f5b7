"""Some hosts of a fleet: what both front doors have in common."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from sshfan_async.api import checked_run
from sshfan_async.errors import InvalidTarget
from sshfan_async.report import Report
from sshfan_async.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from sshfan_async.fleet.engine import Engine, FleetRun
    from sshfan_async.fleet.home import Home
    from sshfan_async.outcome import Outcome
    from sshfan_async.settings import Command

__all__ = ["Outcomes", "Part"]


class Part:
    """Some hosts of a fleet."""

    def __init__(self, home: Home, mine: Mapping[Target, str]) -> None:
        self._home = home
        self._mine = mine

    @property
    def status(self) -> Report:
        """How each connection stands at this moment, as a report with one outcome per host.

        `ok`: connected. `not_run`: closed for want of use, or not connected yet. Any other status is why there is no
        connection: it could not be made (`unreachable`, `auth`, …), or was lost (`dropped`). `phases` and `attempts`
        are those of the last connecting.
        """
        return Report(self._engine.statuses(self._mine), finished_at=time.time())

    @property
    def _engine(self) -> Engine:
        if self._home.engine is None:
            raise RuntimeError("this fleet is not open: use it inside its `with` block")
        if self._home.is_elsewhere:
            raise RuntimeError("this fleet was opened in another process: open one after the fork")
        return self._home.engine

    def _subset(self, hosts: str | Target | Iterable[str | Target]) -> dict[Target, str]:
        chosen = targets(hosts)
        for target, name in chosen.items():
            if target not in self._mine:
                raise InvalidTarget(f"{name!r} is not in this fleet")
        return chosen

    def _run(self, command: Command, emit: Callable[[Outcome], None], **options: Any) -> FleetRun:
        from sshfan_async.fleet.engine import FleetRun

        run = checked_run((), command, ssh=self._home.plan.ssh, **options)
        return FleetRun(replace(run, targets=self._mine), emit)


class Outcomes:
    """A run's outcomes, gathered in whatever thread they come and read when the run is over."""

    def __init__(self) -> None:
        self._found: dict[Target, Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        """Take an outcome."""
        self._found[outcome.target] = outcome

    def report(self, mine: Iterable[Target]) -> Report:
        """Return the report on `mine`, each of which has ended."""
        return Report(tuple(self._found[target] for target in mine), finished_at=time.time())
