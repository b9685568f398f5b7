"""The verdict on one attempt, and the facts that it is based on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sshfan_async.outcome import Phase, Status

if TYPE_CHECKING:
    from sshfan_async.sshlog.stamps import Stamps

__all__ = ["KILLED", "Facts", "Verdict", "exited", "lost", "not_sent", "shortened"]

_LONGEST = 300
"""The most characters of a reason."""

KILLED = rb"Killed by signal (\d+)\.$"
"""ssh's last line if a signal ends it (clientloop.c: client_loop)."""


class Verdict(NamedTuple):
    """How one attempt ended, according to ssh's log, its return code and its stderr."""

    status: Status
    sent: bool
    """Whether the command can have reached the host."""
    phase: Phase
    """The phase in which it ended."""
    exit_code: int | None = None
    """The exit code of the remote command; None if none arrived."""
    reason: str = ""
    """One line. Control characters are escaped."""
    transient: bool = False
    """Whether the command was not sent and a retry can help: a busy host or jump host dropped the connection, or
    this machine was short of processes or descriptors."""
    by_peer: bool = False
    """Whether the server or jump host that ssh connected to dropped the connection. A host behind a jump host that
    drops connections says nothing about the jump host, which other hosts share."""


class Facts(NamedTuple):
    """What `SshLog` has found in the log."""

    stamps: Stamps
    logged: bool
    peer: str | None
    proxied: bool
    asked_master: bool
    """A ControlMaster was asked for a session, and the log shows no answer."""
    over_master: bool
    exit_status: int | None
    """The exit status that ssh logged in its last line, -1 if it received none; None if the last line is another."""
    saw: frozenset[str]
    """What the server sent when the command ended: `"status"`, `"signal"`."""
    last: bytes
    """ssh's last message to its user since the last step."""
    why: bytes
    """An earlier message that explains `last`."""
    doubted: bool
    """The line that shows the key exchange may be text from the host."""


def lost(facts: Facts, reason: str) -> Verdict:
    """Return the verdict on a command that was sent, if nothing proves how it ended."""
    phase = facts.stamps.phase if facts.stamps.sent is not None else Phase.RUN
    return Verdict(status=Status.LOST, sent=True, phase=phase, reason=shortened(reason))


def exited(code: int, phase: Phase) -> Verdict:
    """Return the verdict on a command that exited with `code`."""
    if code == 0:
        return Verdict(status=Status.OK, sent=True, exit_code=0, phase=phase)
    reason = f"the command exited with {code}"
    return Verdict(status=Status.FAILED, sent=True, exit_code=code, phase=phase, reason=reason)


def not_sent(status: Status, facts: Facts, reason: str, *, transient: bool = False, by_peer: bool = False) -> Verdict:
    """Return the verdict on a command that was not sent."""
    phase, reason = facts.stamps.phase, shortened(reason)
    return Verdict(status=status, sent=False, phase=phase, reason=reason, transient=transient, by_peer=by_peer)


def shortened(reason: str) -> str:
    """Return `reason`, cut if it is too long."""
    return reason if len(reason) <= _LONGEST else reason[: _LONGEST - 1] + "…"
