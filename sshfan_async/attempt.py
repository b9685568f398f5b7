"""One launch of one target, under its clocks, to a frozen `Attempt`: what happened, and when."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from sshfan_async.child import Child
from sshfan_async.launch import Client, target_argv
from sshfan_async.outcome import Phase, Phases, Status
from sshfan_async.spawning import ExitCodesLost
from sshfan_async.sshlog import Ending, SshLog, phases, strip_diagnostics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sshfan_async.capture import Spilled, Store
    from sshfan_async.events import Stream
    from sshfan_async.flow import Flow
    from sshfan_async.logpipe import LogPipes
    from sshfan_async.outcome import Clock, Remote
    from sshfan_async.readers import Readers
    from sshfan_async.settings import Run, Ssh
    from sshfan_async.source import Source
    from sshfan_async.spawning import SpawnGate
    from sshfan_async.targets import Target

__all__ = ["Attempt", "Ended", "Equipment", "failed_here", "never_started", "not_started"]

# Being out of these passes as other programs end.
_SCARCE = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_ENDED = frozenset({Status.OK, Status.FAILED, Status.SIGNALLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What all attempts of a run share."""

    run: Run
    client: Client
    executable: str
    """The path of ssh; `argv` begins with its name, which ssh repeats in each line of its log."""
    common_argv: tuple[str, ...]
    command: str
    """What the login shell gets: the run's command, or its wrapping."""
    secret: str | None
    """That of the wrapping; None where the command is sent as it is."""
    null: int
    """A descriptor of the null device. To have each child's own opened costs 4 % of what a child costs us."""
    source: Source | None
    gate: SpawnGate
    environment: Mapping[bytes, bytes] | None
    log_pipes: LogPipes
    readers: Readers
    store: Store
    flow: Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One attempt, ended."""

    ending: Ending
    phases: Phases
    started_at: float | None = None
    clock: Clock | None = None
    remote: Remote = "ended"
    peer: str | None = None
    """Whom it connected to, where ssh's log says so."""
    stdout: bytes | Spilled = b""
    stderr: bytes | Spilled = b""
    stdout_dropped: int = 0
    stderr_dropped: int = 0


class Follower(Protocol):
    """Who follows an attempt."""

    def progressed(self, log: SshLog) -> None:
        """The log has moved on."""
        ...

    def wrote(self, stream: Stream, data: bytes) -> None:
        """The command has written `data`; told only in a run whose output is followed."""
        ...


class Attempt:
    """A launch under way. `run` sees it to its end; `stop` ends it early.

    The clocks and `stop` end the wait for the child by one mechanism, the first of them wins, and only the wait: a
    child that is being made or being ended is never left alone.
    """

    __slots__ = (
        "_armed_for",
        "_cause",
        "_child",
        "_clock",
        "_ending",
        "_enqueued_at",
        "_equipment",
        "_held",
        "_listener",
        "_timer",
        "_waiter",
        "log",
    )

    def __init__(self, equipment: Equipment, enqueued_at: float, listener: Follower) -> None:
        self.log = SshLog(equipment.client.style, real=equipment.client.version is not None)
        self._equipment = equipment
        self._enqueued_at = enqueued_at
        self._listener = listener
        self._held = 0.0
        self._armed_for: float | None = None
        self._ending = False
        self._cause: Clock | Literal["stop"] | None = None
        self._clock: Clock = "deadline"
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Task[object] | None = None
        self._child: Child

    async def run(self, target: Target) -> Ended | None:
        """Launch `target`'s ssh and see it to its end; whatever fails is in the record, also a cancellation.

        None where it was stopped before the launch.
        """
        try:
            async with self._equipment.gate:
                if self._cause is not None:
                    return None
                started_at = time.time()
                self._child = self._begin(target)
            await self._child.made()
        except asyncio.CancelledError:
            return None
        except OSError as error:
            return self._unlaunched(not_started(error, self._equipment.run.ssh))
        child, flow = self._child, self._equipment.flow
        self._arm()
        if flow.followed:
            flow.join(self)
        self._waiter = asyncio.current_task()
        try:
            if self._cause is None:
                child.finish(await child.exited())  # not `wait`: its coroutine is one more object for each host
        except asyncio.CancelledError:
            if self._cause is None:
                self._cause = "stop"
            elif self._waiter is not None:
                self._waiter.uncancel()
        finally:
            self._waiter = None
            if self._timer is not None:
                self._timer.cancel()
        if flow.followed:
            # What comes from now on goes to the outcome alone: a consumer may be far behind, or never come.
            flow.leave(self)
            self._ending = True
            child.release()
        if child.ended_at is None:
            stopped_at, phase = time.monotonic(), self.log.phase()
            await child.stop(self._equipment.run.clocks.kill_after)
            if child.stopped:
                return self._conclude(started_at, stopped_at, self._stopped(stopped_at - child.launched_at, phase))
        assert child.ended_at is not None
        assert child.returncode is not None
        self._cause = None  # it had ended by itself
        ending = self.log.end(child.returncode, child.preamble + _tail(child.stderr.value()))
        return self._conclude(started_at, child.ended_at, _with_wrapper(ending, child))

    def stop(self) -> None:
        """End it: the record will say `cancelled`, if it has not ended by then."""
        self._interrupt("stop")

    def hold(self) -> None:
        """Read no further output; all clocks but `connect_timeout` stand still."""
        self._child.hold()
        self._arm()

    def release(self, held_since: float) -> None:
        """Read on, and let the clock run again."""
        sent_at = self.log.sent_at
        if sent_at is not None:
            self._held += time.monotonic() - max(held_since, sent_at)
        self._child.release()
        self._arm()

    def _interrupt(self, cause: Clock | Literal["stop"]) -> None:
        if self._cause is None:
            self._cause = cause
            if self._waiter is not None:
                self._waiter.cancel()

    def _begin(self, target: Target) -> Child:
        equipment, run = self._equipment, self._equipment.run
        pipe = equipment.log_pipes.open()
        return Child.begin(
            equipment.executable,
            target_argv(equipment.common_argv, target, equipment.command, user=run.user, log_path=pipe.path),
            equipment.environment,
            log=self.log,
            log_pipe=pipe,
            readers=equipment.readers,
            null=equipment.null,
            source=equipment.source,
            secret=equipment.secret,
            store=equipment.store,
            max_output=run.limits.max_output,
            listener=self,
        )

    def progressed(self) -> None:
        """The child's log has moved on."""
        if self._sent_at() != self._armed_for:
            self._arm()
        self._listener.progressed(self.log)

    @property
    def follows(self) -> bool:
        """Whether somebody takes what happens as it comes."""
        return self._equipment.flow.followed and not self._ending

    def wrote(self, stream: Stream, data: bytes) -> None:
        """The command has written `data`."""
        if self.follows:
            self._listener.wrote(stream, data)

    def _arm(self) -> None:
        """Let `connect_timeout` run, or once the command is sent `timeout`; the deadline where that comes first."""
        if self._cause is not None:
            return
        clocks, flow = self._equipment.run.clocks, self._equipment.flow
        sent_at = self._armed_for = self._sent_at()
        if sent_at is None:
            self._clock, at = "connect_timeout", _after(self._child.launched_at, clocks.connect_timeout)
        else:
            self._clock, at = "timeout", _after(sent_at + self._held, clocks.timeout)
        if flow.deadline <= at:
            self._clock, at = "deadline", flow.deadline
        if flow.held_since is not None and self._clock != "connect_timeout":
            at = math.inf
        if self._timer is not None:
            if self._timer.when() == at:
                return
            self._timer.cancel()
            self._timer = None
        if at < math.inf:
            self._timer = asyncio.get_running_loop().call_at(at, self._expire)

    def _sent_at(self) -> float | None:
        """When the command left: for a program that is no OpenSSH client at its launch, until it writes a log."""
        return self._child.launched_at if self.log.silent else self.log.sent_at

    def _expire(self) -> None:
        self._interrupt(self._clock)

    def _unlaunched(self, ending: Ending) -> Ended:
        return Ended(ending=ending, phases=Phases(queued=time.monotonic() - self._enqueued_at))

    def _conclude(self, started_at: float, ended_at: float, ending: Ending) -> Ended:
        child, log = self._child, self.log
        if not ending.sent:
            # Without a command, what stands on stderr is ssh's own: the reason has it.
            child.stdout.clear()
            child.stderr.clear()
        stdout, stderr = child.stdout.value(), _own(child.stderr.value(), ending)
        failure = child.stdout.failure or child.stderr.failure
        if failure is not None:
            ending = failed_here(ending, f"its output cannot be kept: {failure.strerror or failure}")
        if child.input_failure is not None:
            why = child.input_failure.strerror or child.input_failure
            ending = failed_here(ending, f"its standard input cannot be read to its end: {why}")
        queued = child.launched_at - self._enqueued_at
        return Ended(
            ending=ending,
            phases=phases(log.stamps, child.launched_at, ended_at, queued),
            started_at=started_at,
            clock=None if self._cause == "stop" else self._cause,
            remote=_remote(ending, child),
            peer=log.peer,
            stdout=stdout,
            stderr=stderr,
            stdout_dropped=child.stdout.dropped,
            stderr_dropped=child.stderr.dropped,
        )

    def _stopped(self, elapsed: float, phase: Phase) -> Ending:
        """The ending of a child that we ended, `elapsed` seconds after its launch, in `phase`."""
        clocks, cause, child = self._equipment.run.clocks, self._cause, self._child
        if cause == "connect_timeout" or cause == "timeout":
            status, reason = Status.TIMED_OUT, f"timed out after {getattr(clocks, cause):.1f} s in {phase}"
        elif cause == "deadline":
            status = Status.TIMED_OUT
            reason = f"the run's deadline of {clocks.deadline:.1f} s passed in {phase}"
        else:
            status, reason = Status.CANCELLED, f"cancelled after {elapsed:.1f} s in {phase}"
        assert child.returncode is not None
        # Over a ControlMaster the request may have gone out before the log said so.
        sent = self.log.end(child.returncode, child.preamble).sent
        return Ending(status=status, sent=sent, phase=phase, reason=reason)


_TAIL = 8 * 1024
"""Bytes at the end of standard error in which ssh's own words are looked for."""


def _tail(kept: bytes | Spilled) -> bytes:
    return kept[-_TAIL:] if isinstance(kept, bytes) else kept.tail(_TAIL)


def _own(kept: bytes | Spilled, ending: Ending) -> bytes | Spilled:
    """Return the command's part of its standard error: without what ssh added when the connection ended."""
    if isinstance(kept, bytes):
        return strip_diagnostics(kept, ending)
    tail = kept.tail(_TAIL)
    return kept.without_last(len(tail) - len(strip_diagnostics(tail, ending)))


def failed_here(ending: Ending, why: str) -> Ending:
    """Say that something failed on this machine, whatever became of the command."""
    reason = f"{why}; {ending.reason}" if ending.reason else why
    return replace(ending, status=Status.LOCAL, reason=reason)


def _with_wrapper(ending: Ending, child: Child) -> Ending:
    """Say so where a wrapped command ended, but its wrapping had never begun."""
    if ending.status not in _ENDED or child.reports is None or child.reports.watched is not None:
        return ending
    note = "the clean-up wrapper did not run there (a forced or restricted command?): on_stop='leave' sends none"
    return replace(ending, reason=f"{ending.reason}; {note}" if ending.reason else note)


def _remote(ending: Ending, child: Child) -> Remote:
    if ending.status in _ENDED or not ending.sent:
        return "ended"
    if not child.stopped:
        return "unknown"
    reports = child.reports
    if reports is not None and reports.ended:
        return "ended"
    return "left" if reports is None or reports.left or reports.watched is False else "unknown"


def _after(since: float, seconds: float | None) -> float:
    return math.inf if seconds is None else since + seconds


def never_started(clock: Clock | None) -> Ending:
    """The ending of a target whose turn never came: `clock` ended the run, or somebody stopped it."""
    why = "the run was stopped" if clock is None else "the run's deadline passed"
    reason = f"never started: {why} before this host's turn"
    return Ending(status=Status.NOT_RUN, sent=False, phase=Phase.QUEUED, reason=reason)


def not_started(error: OSError, ssh: Ssh) -> Ending:
    """The ending of a target whose ssh could not be started."""
    return Ending(
        status=Status.LOCAL,
        sent=False,
        phase=Phase.QUEUED,
        reason=str(error) if isinstance(error, ExitCodesLost) else _why_not_started(error, ssh),
        transient=error.errno in _SCARCE,
    )


def _why_not_started(error: OSError, ssh: Ssh) -> str:
    program = os.fspath(ssh.program)
    if shutil.which(program) is None:
        why = "no such program: install the OpenSSH client (Debian: openssh-client), or name it with program="
    else:
        why = error.strerror or str(error)
    return f"cannot start {program!r}: {why}"
