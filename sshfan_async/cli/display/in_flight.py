"""`InFlight`: which hosts are in flight, in which phase and for how long, and how many have ended."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from sshfan_async.cli.display.fold import briefly_folded
from sshfan_async.event import HostFinished, HostPhase, HostStarted
from sshfan_async.outcome import Phase, Status
from sshfan_async.settings import OnStop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sshfan_async.event import Event

__all__ = ["InFlight"]


class InFlight:
    """The state of a run, updated from its events. The progress and the first Ctrl-C show it."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.began = time.monotonic()
        self.ended: Counter[Status] = Counter()
        self.running: dict[str, tuple[Phase, float]] = {}
        """By host name: its phase, and when that began (`time.monotonic()`)."""

    def note(self, events: Iterable[Event]) -> None:
        """Update the state."""
        now = time.monotonic()
        for event in events:
            if isinstance(event, HostStarted):
                self.running[event.host] = (Phase.RESOLVE, now)
            elif isinstance(event, HostPhase):
                self.running[event.host] = (event.phase, now)
            elif isinstance(event, HostFinished):
                self.running.pop(event.outcome.host, None)
                self.ended[event.outcome.status] += 1

    def stop_line(self, on_stop: OnStop, kill_after: float) -> str | None:
        """Return the message for a run that a signal stops, or None if no host is concerned."""
        leaves_running = on_stop is OnStop.LEAVE
        names = [name for name, (phase, _) in self.running.items() if phase is Phase.RUN or not leaves_running]
        if not names:
            return None
        hosts = f"{len(names)} {'host' if len(names) == 1 else 'hosts'}: {briefly_folded(names)}"
        if leaves_running:
            return f"leaving the command running on {hosts}"
        return f"stopping {hosts} (KILL after {kill_after:g} s)"

    def lines(self) -> Iterator[str]:
        """Yield the lines that a first Ctrl-C shows."""
        done = self.ended.total()
        waiting = self.total - done - len(self.running)
        yield (
            f"{done} of {self.total} hosts have ended, {len(self.running)} in flight, {waiting} waiting "
            "(press Ctrl-C again within a second to stop the run)"
        )
        now = time.monotonic()
        for phase in Phase:
            members = {name: now - since for name, (at, since) in self.running.items() if at is phase}
            if members:
                shortest, longest = f"{min(members.values()):.1f}", f"{max(members.values()):.1f}"
                times = longest if shortest == longest else f"{shortest} to {longest}"
                yield f"  {phase} for {times} s: {briefly_folded(list(members))}"
