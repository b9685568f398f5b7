"""The records of how a target ended: `Outcome`, with its `Status`, `Phase` and `Phases`."""

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
"""The name of a clock, which is also the name of its argument of `fan_out`."""

Remote: TypeAlias = Literal["ended", "left", "unknown"]
"""What is known of the remote command: it has ended, it was left running, or neither is certain."""


class Status(StrEnum):
    """How a target ended. If several things end it, the first one decides."""

    OK = "ok"
    """The command exited with 0."""
    FAILED = "failed"
    """The command exited with another code, 255 included."""
    SIGNALLED = "signalled"
    """The remote command died of a signal."""
    LOST = "lost"
    """The connection ended after the command was sent, and no exit status arrived."""
    TIMED_OUT = "timed_out"
    """A clock of the run fired; `Outcome.clock` names it."""
    UNRESOLVED = "unresolved"
    """The name has no address."""
    UNREACHABLE = "unreachable"
    """No connection: refused, no route, timed out, or a jump host that failed."""
    DROPPED = "dropped"
    """The connection was established, and ended before the command was sent."""
    HOST_KEY = "host_key"
    """The host key is unknown or has changed."""
    AUTH = "auth"
    """Authentication was refused."""
    CANCELLED = "cancelled"
    """The caller stopped the run."""
    NOT_RUN = "not_run"
    """The target was not started, because the run ended first."""
    LOCAL = "local"
    """Something failed on this machine."""


class Phase(StrEnum):
    """A part of a target's time; the members are in the order of time."""

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

    `queued` is all the time before that attempt was launched: waiting for a free slot, earlier attempts, back-off.
    If ssh uses an existing ControlMaster connection, `connect`, `handshake` and `auth` are None.
    """

    queued: float | None = None
    resolve: float | None = None
    connect: float | None = None
    handshake: float | None = None
    auth: float | None = None
    run: float | None = None
    close: float | None = None

    def __iter__(self) -> Iterator[tuple[Phase, float]]:
        """Iterate over the phases that happened, in the order of time, each with its seconds."""
        for each in fields(self):
            seconds = getattr(self, each.name)
            if seconds is not None:
                yield Phase(each.name), seconds

    @property
    def elapsed(self) -> float:
        """Seconds from the launch of the last attempt to its end: the sum of all phases but `queued`."""
        spent = (self.resolve, self.connect, self.handshake, self.auth, self.run, self.close)
        return sum(filter(None, spent), start=0.0)


class Stored(Protocol):
    """Output that is large or not in memory (see `sshfan_async.stdio.spilled`)."""

    def read(self) -> bytes:
        """Return the whole output."""
        ...

    def open(self) -> BinaryIO:
        """Return a new binary stream that starts at the first byte."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one target ended. Each run has exactly one outcome for each target. Immutable and picklable."""

    target: Target
    host: str
    """The name as the caller gave it."""
    status: Status
    exit_code: int | None = None
    """The exit code of the remote command; None if none arrived."""
    signal: str | None = None
    """The signal that ended the remote command (`"KILL"`); None if there was none, or its name is not known."""
    phases: Phases = Phases()
    started_at: float | None = None
    """Seconds since the epoch at the launch of the last attempt; None if there was no attempt."""
    attempts: int = 0
    """How many attempts were launched."""
    sent: bool = False
    """Whether the command can have reached the host. If False, it is safe to run the command again."""
    clock: Clock | None = None
    """The clock that ended the last attempt; None if none did."""
    phase: Phase = Phase.QUEUED
    """The phase in which the last attempt ended."""
    remote: Remote = "unknown"
    """What is known of the remote command: `"ended"`, `"left"` (running) or `"unknown"`."""
    reason: str = ""
    """One sentence that says what happened, empty if `ok`. Control characters are escaped."""
    stdout_dropped: int = 0
    """Bytes of standard output that were not kept, because of `max_output` or because writing them failed."""
    stderr_dropped: int = 0
    """Bytes of standard error that were not kept."""
    stdout_kept: bytes | Stored = field(default=b"", repr=False)
    """The storage of `stdout`: read `stdout` or `open_stdout()` instead."""
    stderr_kept: bytes | Stored = field(default=b"", repr=False)
    """The storage of `stderr`: read `stderr` or `open_stderr()` instead."""

    @property
    def ok(self) -> bool:
        """Whether the command ran and exited with 0."""
        return self.status is Status.OK

    @property
    def elapsed(self) -> float:
        """Seconds from the launch of the last attempt to its end."""
        return self.phases.elapsed

    @property
    def stdout(self) -> bytes:
        """The standard output of the command, up to `max_output` bytes."""
        return _read(self.stdout_kept)

    @property
    def stderr(self) -> bytes:
        """The standard error of the command, up to `max_output` bytes. ssh's own messages are in `reason`."""
        return _read(self.stderr_kept)

    def open_stdout(self) -> BinaryIO:
        """Return `stdout` as a new binary stream, without loading all of it into memory."""
        return _open(self.stdout_kept)

    def open_stderr(self) -> BinaryIO:
        """Return `stderr` as a new binary stream, without loading all of it into memory."""
        return _open(self.stderr_kept)


def _read(kept: bytes | Stored) -> bytes:
    return kept if isinstance(kept, bytes) else kept.read()


def _open(kept: bytes | Stored) -> BinaryIO:
    return io.BytesIO(kept) if isinstance(kept, bytes) else kept.open()
