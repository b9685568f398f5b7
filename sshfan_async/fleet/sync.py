"""`SyncFleet`: the public fleet for code without an event loop."""

from __future__ import annotations

import atexit
import warnings
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Unpack

from sshfan_async.engine.run import check_names
from sshfan_async.fleet.home import Home, cannot_be_stopped
from sshfan_async.fleet.part import Part, RunOutcomes
from sshfan_async.fleet.settings import FleetOptions, checked_settings
from sshfan_async.settings import CommandOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from sshfan_async.outcome import Outcome
    from sshfan_async.report import Report
    from sshfan_async.settings import Command
    from sshfan_async.targets import Hosts

__all__ = ["SyncFleet", "SyncFleetPart"]


class SyncFleetPart(Part):
    """All or some hosts of a `SyncFleet`."""

    def hosts(self, hosts: Hosts) -> SyncFleetPart:
        """Return a part of the fleet with only `hosts`. It uses the same connections.

        Raises:
            InvalidTarget: a host is not in the fleet, or cannot be used.

        """
        return SyncFleetPart(self._home, self._subset(hosts))

    def run(self, command: Command, **options: Unpack[CommandOptions]) -> Report:
        """Run `command` on all hosts and return a report with exactly one outcome for each.

        The arguments and the errors raised are those of `Fleet.run`. Ctrl-C ends the commands and raises
        KeyboardInterrupt when they have ended. The connections stay open.
        """
        check_names("run", options, CommandOptions)
        outcomes = RunOutcomes()
        run = self._run(command, outcomes.add, **options)
        self._home.wait_for(self._home.start(self._pool.run, run), stop=run.cancel)
        return outcomes.report(self._members)

    @contextmanager
    def stream(self, command: Command, **options: Unpack[CommandOptions]) -> Iterator[Iterator[Outcome]]:
        """Run `command` on all hosts and yield each outcome when its host has ended.

            with fleet.stream("uptime") as outcomes:
                for outcome in outcomes:
                    ...

        Leaving the block early ends the commands that are still running. The arguments and the errors raised are
        those of `run`.
        """
        check_names("stream", options, CommandOptions)
        ended: SimpleQueue[Outcome | None] = SimpleQueue()
        run = self._run(command, ended.put, **options)
        running = self._home.start(self._pool.run, run)
        running.add_done_callback(lambda _: ended.put(None))
        try:
            yield iter(ended.get, None)
        finally:
            self._home.call(run.cancel)
            self._home.wait_for(running, stop=run.cancel)


class SyncFleet(SyncFleetPart):
    """Run many commands over open connections to the same hosts, without an event loop.

        with SyncFleet(hosts) as fleet:
            report = fleet.run("uptime")

    The connections are handled in a thread of its own. Call the methods in any thread. The arguments and the errors
    raised are those of `Fleet`.
    """

    def __init__(self, hosts: Hosts, user: str | None = None, **options: Unpack[FleetOptions]) -> None:
        check_names("SyncFleet", options, FleetOptions)
        settings = checked_settings(hosts, user, **options)
        super().__init__(Home(settings), settings.targets)

    def __enter__(self) -> Self:
        pool = self._home.enter(here=False)
        try:
            self._home.wait_for(self._home.start(pool.open), stop=pool.stop_opening)
        except BaseException:
            self._close()
            raise
        atexit.register(self._close_late)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        atexit.unregister(self._close_late)
        self._close()

    def _close_late(self) -> None:
        """Close a fleet that is still open at exit, before the interpreter stops its thread."""
        if not self._home.is_in_another_process:
            warnings.warn("a SyncFleet was not closed: use it in a `with` block", ResourceWarning, stacklevel=1)
        self._close()

    def _close(self) -> None:
        if self._home.is_in_another_process:
            return
        try:
            self._home.wait_for(self._home.start(self._pool.close), stop=cannot_be_stopped)
        finally:
            self._home.close()
