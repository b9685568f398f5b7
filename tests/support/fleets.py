"""What a fleet has here (masters, socket directories), and what is known of its commands."""

from __future__ import annotations

import glob
import os
import tempfile
from typing import TYPE_CHECKING

from tests.support import processes

if TYPE_CHECKING:
    from sshfan_async import Fleet, Outcome
    from sshfan_async.fleet.sessions import Sessions


def directories() -> set[str]:
    """Return the socket directories of fleets; the directory of an `SshdFleet` has one hyphen less."""
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "sshfan-*-*")))


def remote_pid(outcome: Outcome) -> int:
    return int(outcome.stdout.split()[0])


def master() -> int:
    """Return the pid of the only ssh among our children; the socket guard is a shell."""
    (pid,) = (pid for pid in processes.children() if processes.name(pid) == "ssh")
    return pid


def remote_after_a_stop(fleet: Fleet) -> str:
    """Return the `remote` of a command that a fleet of one host has stopped: only a watchdog proves its end."""
    (host,) = fleet._pool._hosts.values()
    return "unknown" if host.takes_signals else "ended"


def the_sessions(fleet: Fleet) -> Sessions:
    """Return the sessions of the connection to the only host."""
    (host,) = fleet._pool._hosts.values()
    assert host.queue.sessions is not None
    return host.queue.sessions


def spare_is_open(fleet: Fleet) -> bool:
    """Return whether the only host has opened a session for the next command."""
    spare = the_sessions(fleet)._spare
    return spare is not None and spare._channel.is_open
