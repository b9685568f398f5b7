"""The verdict on one attempt, the facts that it rests on, and the makers of the common ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshfan_async.outcome import Phase, Status

if TYPE_CHECKING:
    from sshfan_async.sshlog.stamps import Stamps

__all__ = ["KILLED", "Facts", "Verdict", "exited", "lost", "not_sent", "shortened"]

_LONGEST = 300
"""Characters of a reason."""

KILLED = rb"Killed by signal (\d+)\.$"
"""ssh's last line if a signal ends it (clientloop.c: client_loop)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one attempt ended, as ssh's log, its return code and its stderr agree."""

    status: Status
    sent: bool
    """Whether the command can have reached the host."""
    exit_code: int | None = None
    """The remote command's own exit code, where one came."""
    phase: Phase
    """The phase it ended in."""
    reason: str = ""
    """One line, control characters escaped."""
    transient: bool = False
    """Not sent, and the cause can pass: a connection dropped by a busy host or jump host, or too few
    processes or descriptors here. Worth another try, later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What `SshLog` gathered."""

    stamps: Stamps
    logged: bool
    peer: str | None
    proxied: bool
    asked_master: bool
    """A ControlMaster was asked for a session, and the log shows no answer."""
    over_master: bool
    exit_status: int | None
    """ssh's last word on the exit status, if that was the log's last line; -1: none came."""
    saw: frozenset[str]
    """`"status"`, `"signal"`: what the server sent at the command's end."""
    last: bytes
    """ssh's last message to its user since the last step forward."""
    why: bytes
    """An earlier message that explains the last one."""
    doubted: bool
    """The key exchange may be no more than the host's text."""


def lost(facts: Facts, reason: str) -> Verdict:
    """The command was sent, and nothing proves how it ended."""
    phase = facts.stamps.phase if facts.stamps.sent is not None else Phase.RUN
    return Verdict(status=Status.LOST, sent=True, phase=phase, reason=shortened(reason))


def exited(code: int, phase: Phase) -> Verdict:
    """The command exited with `code`."""
    if code == 0:
        return Verdict(status=Status.OK, sent=True, exit_code=0, phase=phase)
    reason = f"the command exited with {code}"
    return Verdict(status=Status.FAILED, sent=True, exit_code=code, phase=phase, reason=reason)


def not_sent(status: Status, facts: Facts, reason: str, *, transient: bool = False) -> Verdict:
    """The command was not sent."""
    return Verdict(status=status, sent=False, phase=facts.stamps.phase, reason=shortened(reason), transient=transient)


def shortened(reason: str) -> str:
    """Return `reason` cut to the length that a reason may have."""
    return reason if len(reason) <= _LONGEST else reason[: _LONGEST - 1] + "…"
