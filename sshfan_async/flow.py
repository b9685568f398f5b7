"""Holding the hosts' output back while its consumer is behind; the clocks stand still meanwhile."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Flow", "Holdable"]


class Holdable(Protocol):
    """What can be held back: an attempt under way."""

    def hold(self) -> None:
        """Read no further output."""
        ...

    def release(self, held_since: float) -> None:
        """Go on; `held_since`: monotonic seconds."""
        ...


class Flow:
    """The run's deadline, and whether its output is held back; both stand still together.

    `followed`: somebody takes the output as it comes, and may ask to hold it.
    """

    def __init__(self, *, deadline: float, followed: bool) -> None:
        self.deadline = deadline
        """Monotonic seconds; infinity for none."""
        self.followed = followed
        self.held_since: float | None = None
        """Monotonic seconds; None while the output flows."""
        self._members: set[Holdable] = set()

    def join(self, member: Holdable) -> None:
        """Concern `member` from now on, at once if the output is held."""
        self._members.add(member)
        if self.held_since is not None:
            member.hold()

    def leave(self, member: Holdable) -> None:
        """`member` has ended."""
        self._members.discard(member)

    def hold(self) -> None:
        """Hold all back, until `release`."""
        if self.held_since is None:
            self.held_since = time.monotonic()
            for member in self._members:
                member.hold()

    def release(self) -> None:
        """Let all go on."""
        if self.held_since is not None:
            held_since, self.held_since = self.held_since, None
            self.deadline += time.monotonic() - held_since
            for member in self._members:
                member.release(held_since)
