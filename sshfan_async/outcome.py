"""How a target ended: `Status`, `Phase`, `Phases`, `Outcome`; frozen records and nothing that acts."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sshfan_async.targets import Target

__all__ = ["Clock", "Outcome", "Phase", "Phases", "Remote", "Status", "Stored"]

Clock: TypeAlias = Literal["connect_timeout", "timeout", "deadline"]
"""The name of one of our clocks, as it is spelled among the arguments of `fan_out`."""

Remote: TypeAlias = Literal["ended", "left", "unknown"]
"""What is known of the remote command: it ended, it was left running, or nobody can say."""


class Status(StrEnum):
    """How a target ended. One per target; the first cause wins."""

    OK = "ok"
    """The command exited with 0."""
    FAILED = "failed"
    """The command exited with another code, 255 included."""
    SIGNALLED = "signalled"
    """The remote command died of a signal."""
    LOST = "lost"
    """The connection ended after the command was sent, and no exit status came."""
    TIMED_OUT = "timed_out"
    """One of our clocks fired; `Outcome.clock` names it."""
    UNRESOLVED = "unresolved"
    """The name has no address."""
    UNREACHABLE = "unreachable"
    """No connection: refused, no route, timed out, or a jump host that failed."""
    DROPPED = "dropped"
    """Connected, but the connection ended before the command was sent."""
    HOST_KEY = "host_key"
    """The host key is unknown or has changed."""
    AUTH = "auth"
    """Authentication was refused."""
    CANCELLED = "cancelled"
    """The caller stopped the run."""
    NOT_RUN = "not_run"
    """Never started: the run ended first."""
    LOCAL = "local"
    """Something failed on this machine."""


class Phase(StrEnum):
    """One stretch of a target's time, in the order in which they come."""

    QUEUED = "queued"
    RESOLVE = "resolve"
    CONNECT = "connect"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    RUN = "run"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds spent in each phase of the last attempt; None for a phase that did not happen.

    `queued` is everything before that attempt's launch: waiting for a place, earlier attempts, back-off.
    A reused ControlMaster connection has no `connect`, `handshake` or `auth`.
    """

    queued: float | None = None
    resolve: float | None = None
    connect: float | None = None
    handshake: float | None = None
    auth: float | None = None
    run: float | None = None
    close: float | None = None

    def __iter__(self) -> Iterator[tuple[Phase, float]]:
        """Iterate over the phases that happened, in order, with their seconds."""
        for each in fields(self):
            seconds = getattr(self, each.name)
            if seconds is not None:
                yield Phase(each.name), seconds

    @property
    def elapsed(self) -> float:
        """Seconds from the last attempt's launch to its end: the sum without `queued`."""
        return sum(seconds for phase, seconds in self if phase is not Phase.QUEUED)


class Stored(Protocol):
    """Output that is not held in memory, as `sshfan_async.stdio.capture` keeps it."""

    def read(self) -> bytes:
        """Return all of it."""
        ...

    def open(self) -> BinaryIO:
        """Return a new binary stream over it, at its start."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one target. Immutable, picklable, exactly one per target and run."""

    target: Target
    host: str
    """The name as the caller gave it."""
    status: Status
    exit_code: int | None = None
    """The remote command's own exit code, where one came."""
    signal: str | None = None
    """The signal that ended the remote command (`"KILL"`), where its name is known."""
    phases: Phases = Phases()
    started_at: float | None = None
    """Wall clock (seconds since the epoch) at the last attempt's launch; None if there was none."""
    attempts: int = 0
    sent: bool = False
    """Whether the command can have reached the host: only where it is False may anybody try again blindly."""
    clock: Clock | None = None
    phase: Phase = Phase.QUEUED
    """The phase it ended in."""
    remote: Remote = "unknown"
    reason: str = ""
    """One sentence a person can act on; control characters in it are escaped."""
    stdout_dropped: int = 0
    """Bytes of stdout beyond `max_output`, read and thrown away."""
    stderr_dropped: int = 0
    stdout_kept: bytes | Stored = field(default=b"", repr=False)
    stderr_kept: bytes | Stored = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the command ran and exited with 0."""
        return self.status is Status.OK

    @property
    def elapsed(self) -> float:
        """Seconds from the last attempt's launch to its end."""
        return self.phases.elapsed

    @property
    def stdout(self) -> bytes:
        """What the command wrote to its standard output, whole."""
        return _read(self.stdout_kept)

    @property
    def stderr(self) -> bytes:
        """What the command wrote to its standard error; ssh's own messages are in `reason`."""
        return _read(self.stderr_kept)

    def open_stdout(self) -> BinaryIO:
        """Return `stdout` as a new binary stream, without loading it into memory."""
        return _open(self.stdout_kept)

    def open_stderr(self) -> BinaryIO:
        """Return `stderr` as a new binary stream, without loading it into memory."""
        return _open(self.stderr_kept)


def _read(kept: bytes | Stored) -> bytes:
    return kept if isinstance(kept, bytes) else kept.read()


def _open(kept: bytes | Stored) -> BinaryIO:
    return io.BytesIO(kept) if isinstance(kept, bytes) else kept.open()
