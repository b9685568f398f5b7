"""What the tests of fleets look at: the ssh masters, the sockets' directories, and what a command wrote."""

from __future__ import annotations

import glob
import os
import tempfile
from typing import TYPE_CHECKING

from tests.support import processes

if TYPE_CHECKING:
    from sshfan_async import Outcome


def directories() -> set[str]:
    """Sockets' directories: those of `SshdFleet` have one hyphen less."""
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "sshfan-*-*")))


def remote_pid(outcome: Outcome) -> int:
    return int(outcome.stdout.split()[0])


def master() -> int:
    """Return the only ssh among our children: the keeper is a shell."""
    (pid,) = (pid for pid in processes.children() if processes.name(pid) == "ssh")
    return pid
