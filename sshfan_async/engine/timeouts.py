"""Arm the timeout of a host: the clock of an attempt that ends first becomes a timer."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.engine.flow import Flow
    from sshfan_async.loop.timers import Timer, Timers
    from sshfan_async.outcome import Clock
    from sshfan_async.settings import Clocks

__all__ = ["Timeouts"]


class Timeouts:
    """`connect_timeout` until the command is sent, then `timeout`; the run's deadline if it comes first.

    Call `arm` at the launch and when the command is sent. `on_expiry` gets the name of the clock that fires.
    """

    __slots__ = (
        "_armed_for",
        "_clock",
        "_clocks",
        "_flow",
        "_launched_at",
        "_on_expiry",
        "_paused_for",
        "_timer",
        "_timers",
    )

    def __init__(
        self, clocks: Clocks, flow: Flow, timers: Timers, launched_at: float, on_expiry: Callable[[Clock], None]
    ) -> None:
        """`launched_at`: the attempt's launch, in monotonic seconds."""
        self._clocks = clocks
        self._flow = flow
        self._launched_at = launched_at
        self._on_expiry: Callable[[Clock], None] | None = on_expiry
        """None after `cancel`: it refers to the attempt, which refers to us."""
        self._armed_for: float | None = None
        self._paused_for = 0.0
        self._clock: Clock = "deadline"
        self._timer: Timer | None = None
        self._timers = timers

    def sent(self, sent_at: float | None) -> None:
        """Arm the next clock if `sent_at`, when the command was sent, is new; None: not yet."""
        if sent_at != self._armed_for:
            self.arm(sent_at)

    def arm(self, sent_at: float | None) -> None:
        """Set the timer for the clock that ends first."""
        if self._on_expiry is None:
            return
        self._armed_for = sent_at
        if sent_at is None:
            self._clock, at = "connect_timeout", _after(self._launched_at, self._clocks.connect_timeout)
        else:
            self._clock, at = "timeout", _after(sent_at + self._paused_for, self._clocks.timeout)
        if self._flow.deadline <= at:
            self._clock, at = "deadline", self._flow.deadline
        if self._flow.paused_since is not None and self._clock != "connect_timeout":
            at = math.inf
        if self._timer is not None:
            if self._timer.when == at:
                return
            self._timer.cancel()
            self._timer = None
        if at < math.inf:
            self._timer = self._timers.call_at(at, self._expire)

    def resumed(self, paused_since: float, sent_at: float | None) -> None:
        """Extend `timeout` by the pause that began at `paused_since`, and arm again."""
        if sent_at is not None:
            self._paused_for += time.monotonic() - max(paused_since, sent_at)
        self.arm(sent_at)

    def cancel(self) -> None:
        """Let no clock fire any more."""
        self._on_expiry = None
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        if self._on_expiry is not None:
            self._on_expiry(self._clock)


def _after(since: float, seconds: float | None) -> float:
    return math.inf if seconds is None else since + seconds
