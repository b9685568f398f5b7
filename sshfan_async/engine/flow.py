"""Pausing the hosts' output while its consumer is behind; the clocks stand still meanwhile."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Flow", "Pausable"]


class Pausable(Protocol):
    """What can be paused: an attempt under way."""

    def pause(self) -> None:
        """Stop reading output."""
        ...

    def resume(self, paused_since: float) -> None:
        """Read output again; `paused_since`: monotonic seconds."""
        ...


class Flow:
    """The run's deadline, and whether its output is paused. While it is paused, the deadline moves on.

    `followed`: a consumer takes the output as it comes, and may pause it.
    """

    def __init__(self, *, deadline: float, followed: bool) -> None:
        self.deadline = deadline
        """Monotonic seconds; infinity for none."""
        self.followed = followed
        self.paused_since: float | None = None
        """Monotonic seconds; None while output is read."""
        self._members: set[Pausable] = set()

    def add(self, member: Pausable) -> None:
        """Pause and resume `member` with the others from now on."""
        self._members.add(member)
        if self.paused_since is not None:
            member.pause()

    def remove(self, member: Pausable) -> None:
        """Leave `member` alone: it has ended."""
        self._members.discard(member)

    def pause(self) -> None:
        """Pause all members, until `resume`."""
        if self.paused_since is None:
            self.paused_since = time.monotonic()
            for member in self._members:
                member.pause()

    def resume(self) -> None:
        """Resume all members."""
        if self.paused_since is not None:
            paused_since, self.paused_since = self.paused_since, None
            self.deadline += time.monotonic() - paused_since
            for member in self._members:
                member.resume(paused_since)
