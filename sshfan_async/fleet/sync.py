"""`SyncFleet`: the front door for code without an event loop."""

from __future__ import annotations

import atexit
import warnings
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

from sshfan_async.fleet.home import Home, nothing
from sshfan_async.fleet.part import Outcomes, Part
from sshfan_async.fleet.plan import checked_plan
from sshfan_async.settings import Ssh

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from sshfan_async.outcome import Outcome
    from sshfan_async.report import Report
    from sshfan_async.settings import Command
    from sshfan_async.stdin import Input
    from sshfan_async.targets import Target

__all__ = ["SyncFleet", "SyncHosts"]

_SSH = Ssh()


class SyncHosts(Part):
    """The hosts of a `SyncFleet`, or some of them."""

    def hosts(self, hosts: str | Target | Iterable[str | Target]) -> SyncHosts:
        """Return a part of the fleet, over the same connections.

        Raises:
            InvalidTarget: a host is not in the fleet.

        """
        return SyncHosts(self._home, self._subset(hosts))

    def run(
        self,
        command: Command,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        kill_after: float = 10.0,
        stdin: Input | None = None,
        on_stop: Literal["leave", "kill", "always"] = "kill",
        max_output: int | None = None,
    ) -> Report:
        """Run `command` on all hosts and return when all have ended, as `Hosts.run` does.

        Ctrl-C ends the commands, and is raised when that is done; the connections stay.
        """
        outcomes = Outcomes()
        run = self._run(
            command, outcomes.add, timeout=timeout, deadline=deadline, kill_after=kill_after, stdin=stdin,
            on_stop=on_stop, max_output=max_output,
        )  # fmt: skip
        self._home.wait_for(self._home.begin(self._engine.run, run), stop=run.cancel)
        return outcomes.report(self._mine)

    @contextmanager
    def stream(
        self,
        command: Command,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        kill_after: float = 10.0,
        stdin: Input | None = None,
        on_stop: Literal["leave", "kill", "always"] = "kill",
        max_output: int | None = None,
    ) -> Iterator[Iterator[Outcome]]:
        """Run `command` on all hosts and give each outcome as soon as it is there.

            with fleet.stream("uptime") as outcomes:
                for outcome in outcomes:
                    ...

        Leaving the block early ends what still runs. The arguments, and what is raised, are those of `run`.
        """
        ended: SimpleQueue[Outcome | None] = SimpleQueue()
        run = self._run(
            command, ended.put, timeout=timeout, deadline=deadline, kill_after=kill_after, stdin=stdin,
            on_stop=on_stop, max_output=max_output,
        )  # fmt: skip
        begun = self._home.begin(self._engine.run, run)
        begun.add_done_callback(lambda _: ended.put(None))
        try:
            yield iter(ended.get, None)
        finally:
            self._home.tell(run.cancel)
            self._home.wait_for(begun, stop=run.cancel)


class SyncFleet(SyncHosts):
    """`Fleet` for code without an event loop: the connections live in a thread of their own.

        with SyncFleet(hosts) as fleet:
            report = fleet.run("uptime")

    The arguments, and what is raised, are those of `Fleet`.
    """

    def __init__(
        self,
        hosts: str | Target | Iterable[str | Target],
        user: str | None = None,
        *,
        ssh: Ssh = _SSH,
        fanout: int | None = 64,
        connect_timeout: float | None = 30.0,
        idle_timeout: float | None = None,
        max_age: float | None = None,
        sessions: int = 10,
        retries: int = 2,
    ) -> None:
        plan = checked_plan(
            hosts, user=user, ssh=ssh, fanout=fanout, connect_timeout=connect_timeout, idle_timeout=idle_timeout,
            max_age=max_age, sessions=sessions, retries=retries,
        )  # fmt: skip
        super().__init__(Home(plan), plan.targets)

    def __enter__(self) -> Self:
        engine = self._home.enter(here=False)
        try:
            self._home.wait_for(self._home.begin(engine.open), stop=engine.stop_opening)
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
        """End what nobody has closed: once the interpreter has stopped our thread, its end would never come."""
        if not self._home.is_elsewhere:
            warnings.warn("a SyncFleet was not closed: use it in a `with` block", ResourceWarning, stacklevel=1)
        self._close()

    def _close(self) -> None:
        if self._home.is_elsewhere:
            self._home.abandon()
            return
        try:
            self._home.wait_for(self._home.begin(self._engine.close), stop=nothing)
        finally:
            self._home.leave()
