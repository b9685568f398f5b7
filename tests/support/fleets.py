"""The ssh masters and socket directories of this process, and the pid that a command wrote."""

from __future__ import annotations

import glob
import os
import tempfile
from typing import TYPE_CHECKING

from tests.support import processes

if TYPE_CHECKING:
    from sshfan_async import Outcome


def directories() -> set[str]:
    """Return the socket directories of fleets; the directory of an `SshdFleet` has one hyphen less."""
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "sshfan-*-*")))


def remote_pid(outcome: Outcome) -> int:
    return int(outcome.stdout.split()[0])


def master() -> int:
    """Return the pid of the only ssh among our children; the socket guard is a shell."""
    (pid,) = (pid for pid in processes.children() if processes.name(pid) == "ssh")
    return pid
