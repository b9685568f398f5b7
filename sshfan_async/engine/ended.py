"""The record of how an attempt or a fleet's command ended, and the texts of the reasons.

Verdict (from ssh's log, or from a fleet's channel)
-> stopped(), not_run(), spawn_failed(), …       endings that ssh does not know about
-> concluded()                                      `local` if output could not be kept or input could not be read
-> Ended -> Ended.outcome()                         every `Outcome` is made here; `packed` makes the same ones again
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.process.client import find_program
from sshfan_async.process.spawn import ExitCodesLost
from sshfan_async.process.spawn_gate import SHORTAGES
from sshfan_async.sshlog.diagnostics import strip_diagnostics
from sshfan_async.sshlog.verdict import Verdict, exited

if TYPE_CHECKING:
    from sshfan_async.outcome import Clock, Remote
    from sshfan_async.process.watchdog import Reports
    from sshfan_async.settings import Clocks, Ssh
    from sshfan_async.stdio.capture import Capture, Nothing
    from sshfan_async.stdio.spilled import Spilled
    from sshfan_async.targets import Target

__all__ = [
    "Cause",
    "Ended",
    "broken",
    "channel_closed",
    "concluded",
    "connection_lost",
    "failed_here",
    "input_unreadable",
    "not_run",
    "spawn_failed",
    "refused_session",
    "remote_state",
    "stderr_tail",
    "stopped",
    "with_wrapper_note",
    "without_diagnostics",
]

Cause: TypeAlias = "Clock | Literal['stop']"
"""Why we ended an attempt: the clock that fired, or `"stop"` for a request to stop."""

_RAN = frozenset({Status.OK, Status.FAILED, Status.SIGNALLED})
_STOPPED = frozenset({Status.TIMED_OUT, Status.CANCELLED})

_HELD_OPEN = (
    "the command had ended, but its output stayed open, as if a process that it left in the background holds it: "
    "redirect that process's output, as in `COMMAND >/dev/null 2>&1 &`"
)

_TAIL = 8 * 1024
"""Bytes at the end of stderr that are searched for ssh's own messages."""


class Ended(NamedTuple):
    """How one attempt ended."""

    verdict: Verdict
    phases: Phases
    started_at: float | None = None
    clock: Clock | None = None
    remote: Remote = "ended"
    signal: str | None = None
    """The signal that ended the remote command, if its name is known."""
    peer: str | None = None
    """The address or jump host that it connected to, if ssh's log says so."""
    stdout: bytes | Spilled = b""
    stderr: bytes | Spilled = b""
    stdout_dropped: int = 0
    stderr_dropped: int = 0

    def outcome(self, target: Target, host: str, attempts: int) -> Outcome:
        """Return the outcome of `target`, which the caller named `host`. This was its last attempt."""
        verdict = self.verdict
        return Outcome(
            target=target,
            host=host,
            status=verdict.status,
            exit_code=verdict.exit_code,
            signal=self.signal,
            phases=self.phases,
            started_at=self.started_at,
            attempts=attempts,
            sent=verdict.sent,
            clock=self.clock,
            phase=verdict.phase,
            remote=self.remote,
            reason=verdict.reason,
            stdout_dropped=self.stdout_dropped,
            stderr_dropped=self.stderr_dropped,
            stdout_kept=self.stdout,
            stderr_kept=self.stderr,
        )


def concluded(
    verdict: Verdict,
    *,
    phases: Phases,
    started_at: float | None,
    cause: Cause | None,
    remote: Remote,
    stdout: Capture | Nothing,
    stderr: Capture | Nothing,
    input_failure: OSError | None,
    failure: str | None = None,
    signal: str | None = None,
    peer: str | None = None,
) -> Ended:
    """Return the record of an attempt that was launched.

    If output could not be kept, or input could not be read, or something else failed here (`failure`), the status is
    `local`, however the command ended.
    """
    kept: bytes | Spilled = b""
    kept_stderr: bytes | Spilled = b""
    try:
        kept, kept_stderr = stdout.value(), stderr.value()
    except Exception as error:  # out of memory
        failure = failure or f"its output is lost: {type(error).__name__}: {error}"
    unkept = stdout.failure or stderr.failure
    if failure is not None:
        verdict = failed_here(verdict, failure)
    if unkept is not None:
        verdict = failed_here(verdict, f"its output cannot be kept: {unkept.strerror or unkept}")
    if input_failure is not None:
        why = input_failure.strerror or input_failure
        verdict = failed_here(verdict, f"its standard input cannot be read to its end: {why}")
    return Ended(
        verdict=verdict,
        phases=phases,
        started_at=started_at,
        clock=None if cause == "stop" else cause,
        remote=remote,
        signal=signal if verdict.status is Status.SIGNALLED else None,
        peer=peer,
        stdout=kept,
        stderr=kept_stderr,
        stdout_dropped=stdout.dropped,
        stderr_dropped=stderr.dropped,
    )


def broken(error: Exception, *, launched: bool, queued: float) -> Ended:
    """Return the record of an attempt that an error of our own has ended. Its output is lost."""
    reason = f"internal error: {type(error).__name__}: {error}"
    phase = Phase.RUN if launched else Phase.QUEUED
    verdict = Verdict(status=Status.LOCAL, sent=launched, phase=phase, reason=reason)
    return Ended(verdict=verdict, phases=Phases(queued=queued), remote="unknown" if launched else "ended")


# before the launch


def not_run(clock: Clock | None) -> Verdict:
    """Return the verdict on a target that was not launched: `clock` ended the run, or None for a request to stop."""
    why = "the run was stopped" if clock is None else "the run's deadline passed"
    reason = f"never started: {why} before this host's turn"
    return Verdict(status=Status.NOT_RUN, sent=False, phase=Phase.QUEUED, reason=reason)


def spawn_failed(error: OSError, ssh: Ssh) -> Verdict:
    """Return the verdict on a target whose ssh could not be started."""
    return Verdict(
        status=Status.LOCAL,
        sent=False,
        phase=Phase.QUEUED,
        reason=str(error) if isinstance(error, ExitCodesLost) else _why_not_spawned(error, ssh),
        transient=error.errno in SHORTAGES,
    )


def _why_not_spawned(error: OSError, ssh: Ssh) -> str:
    try:
        find_program(ssh)
    except FileNotFoundError:
        why = "no such program: install the OpenSSH client (Debian: openssh-client), or give its path as program="
    else:
        why = error.strerror or str(error)
    return f"cannot start {os.fspath(ssh.program)!r}: {why}"


def input_unreadable(error: OSError) -> Verdict:
    """Return the verdict on a target whose standard input cannot be opened."""
    why = f"its standard input cannot be read: {error.strerror or error}"
    return Verdict(status=Status.LOCAL, sent=False, phase=Phase.QUEUED, reason=why)


def refused_session(reason: str) -> Verdict:
    """Return the verdict on a command for which the host refused a session."""
    why = f"the host opens no session: {reason}"
    return Verdict(status=Status.DROPPED, sent=False, phase=Phase.QUEUED, reason=why)


# after the launch


def stopped(cause: Cause, clocks: Clocks, *, after: float, phase: Phase, sent: bool, note: str = "") -> Verdict:
    """Return the verdict on an attempt that we ended after `after` seconds, in `phase`. `note` ends the reason."""
    if phase is Phase.CLOSE:
        note = "; ".join(filter(None, (note, _HELD_OPEN)))
    if cause == "connect_timeout" or cause == "timeout":
        status, reason = Status.TIMED_OUT, f"timed out after {getattr(clocks, cause):.1f} s in {phase}"
    elif cause == "deadline":
        status, reason = Status.TIMED_OUT, f"the run's deadline of {clocks.deadline:.1f} s passed in {phase}"
    else:
        status, reason = Status.CANCELLED, f"cancelled after {after:.1f} s in {phase}"
    return Verdict(status=status, sent=sent, phase=phase, reason=f"{reason}; {note}" if note else reason)


def connection_lost(reason: str, *, sent: bool) -> Verdict:
    """Return the verdict on a fleet's command whose connection was lost."""
    if sent:
        text = f"the connection was lost after the command was sent: {reason}"
        return Verdict(status=Status.LOST, sent=True, phase=Phase.RUN, reason=text)
    text = f"the connection was lost before the command was sent: {reason}"
    return Verdict(status=Status.DROPPED, sent=False, phase=Phase.QUEUED, reason=text)


def channel_closed(exit_code: int | None, signal: str | None, refusal: str, reports: Reports | None) -> Verdict:
    """Return the verdict on a fleet's command that was sent, and that we did not stop.

    `refusal`: what the host refused to do.
    """
    if signal is not None:
        reason = f"the remote command was killed by signal {signal}"
        return Verdict(status=Status.SIGNALLED, sent=True, phase=Phase.RUN, reason=reason)
    if exit_code is None:
        reason = refusal or "the host closed the channel and sent no exit status"
        return Verdict(status=Status.LOST, sent=True, phase=Phase.RUN, reason=reason)
    return with_wrapper_note(exited(exit_code, Phase.RUN), reports)


def failed_here(verdict: Verdict, why: str) -> Verdict:
    """Return `verdict` as `local`: something failed on this machine, and `why` is put before the reason."""
    return _with_note(verdict, why, first=True)._replace(status=Status.LOCAL)


def with_wrapper_note(verdict: Verdict, reports: Reports | None, *, accepted: bool = True) -> Verdict:
    """Return `verdict`, with a note if the command was wrapped, but its wrapper did not run.

    `accepted`: whether the host has accepted a command that we stopped. Before that, no wrapper can report.
    """
    may_have_run = verdict.status in _RAN or (verdict.status in _STOPPED and verdict.sent and accepted)
    if not may_have_run or reports is None or reports.watched is not None:
        return verdict
    note = (
        "the clean-up wrapper did not run there (a forced or restricted command?):"
        " on_stop='leave' sends the command without it"
    )
    return _with_note(verdict, note)


def _with_note(verdict: Verdict, note: str, *, first: bool = False) -> Verdict:
    parts = [note, verdict.reason] if first else [verdict.reason, note]
    return verdict._replace(reason="; ".join(part for part in parts if part))


def remote_state(
    verdict: Verdict, *, exited: bool = False, stopped: bool, reports: Reports | None, left: bool
) -> Remote:
    """Return what is known of the remote command.

    `exited`: its exit status or signal was received. `stopped`: we ended it, or its ssh. `left`: without a watchdog,
    whether it is known to run on.
    """
    if exited or verdict.status in _RAN or not verdict.sent:
        return "ended"
    if not stopped:
        return "unknown"
    if reports is None:
        return "left" if left else "unknown"
    if reports.ended:
        return "ended"
    return "left" if reports.left or reports.watched is False else "unknown"


# what ssh wrote to stderr


def stderr_tail(kept: bytes | Spilled) -> bytes:
    """Return the end of a child's stderr, which may have ssh's own messages."""
    return kept[-_TAIL:] if isinstance(kept, bytes) else kept.tail(_TAIL)


def without_diagnostics(kept: bytes | Spilled, verdict: Verdict) -> bytes | Spilled:
    """Return a child's stderr without the messages that ssh added when the connection ended."""
    if isinstance(kept, bytes):
        return strip_diagnostics(kept, verdict)
    tail = stderr_tail(kept)
    return kept.without_last(len(tail) - len(strip_diagnostics(tail, verdict)))
