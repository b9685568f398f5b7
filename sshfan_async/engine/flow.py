"""Pause the hosts' output while the consumer is behind; `timeout` and `deadline` are paused with it."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Flow", "Pausable"]


class Pausable(Protocol):
    """An attempt under way, which can be paused."""

    def pause(self) -> None:
        """Stop reading output."""
        ...

    def resume(self, paused_since: float) -> None:
        """Read output again. `paused_since`: when the pause began, in monotonic seconds."""
        ...


class Flow:
    """The deadline of a run, and whether its output is paused. A pause extends the deadline.

    `followed`: a consumer receives the output during the run, and may pause it.
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
        """Forget `member`: it has ended."""
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
