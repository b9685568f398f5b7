"""The events of a run, as `events()` yields them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from sshfan_async.outcome import Outcome, Phase
    from sshfan_async.targets import Target

Stream: TypeAlias = Literal["stdout", "stderr"]

__all__ = ["Event", "HostFinished", "HostOutput", "HostPhase", "HostStarted", "Stream"]


@dataclass(frozen=True, slots=True)
class HostStarted:
    """An attempt was launched for a target. `attempt` counts from 1."""

    target: Target
    host: str
    attempt: int


@dataclass(frozen=True, slots=True)
class HostPhase:
    """A target has reached a phase."""

    target: Target
    host: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class HostOutput:
    """A target's command has written `data` to its standard output or standard error."""

    target: Target
    host: str
    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class HostFinished:
    """A target has ended. No other event about it follows."""

    outcome: Outcome


Event: TypeAlias = HostStarted | HostPhase | HostOutput | HostFinished
