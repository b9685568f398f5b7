"""ssh's own words at the end of a child's standard error, told apart from the command's."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from sshfan_async.escape import printable
from sshfan_async.outcome import Status

if TYPE_CHECKING:
    from sshfan_async.sshlog.verdict import Verdict

__all__ = ["diagnostics", "last_line", "signal_name", "strip_diagnostics", "words"]

# clientloop.c: quit_message and its elder forms; packet.c: sshpkt_vfatal, of a jump host's ssh. Never by a command
# that writes LF alone.
_DIAGNOSTIC = rb"""(?x)(?:
      Connection\ to\ \S+\ closed(?:\ by\ remote\ host)?\.
    | Shared\ connection\ to\ \S+\ closed\.
    | Read\ from\ remote\ host\ \S+:\ [^\r\n]{1,100}
    | client_loop:\ send\ disconnect:\ [^\r\n]{1,100}
    | Timeout,\ server\ \S+\ not\ responding\.
    | Connection\ (?:closed|reset)\ by\ \S+\ port\ \d+
    | Killed\ by\ signal\ \d+\.
    )\r\n\Z"""


def strip_diagnostics(stderr: bytes, verdict: Verdict) -> bytes:
    r"""Take from the end of a lost command's `stderr` what ssh itself appended (`Connection to H closed ...\r\n`).

    Any other ending's stderr is returned as it is: there the same words are the command's own.
    """
    return stderr[: len(stderr) - len(diagnostics(stderr))] if verdict.status is Status.LOST else stderr


def diagnostics(stderr: bytes) -> bytes:
    """Return what ssh itself appended to the end of `stderr`."""
    end = len(stderr)
    while found := re.compile(_DIAGNOSTIC).search(stderr, max(end - 1024, 0), end):
        end = found.start()
    return stderr[end:]


def last_line(text: bytes) -> bytes:
    """Return the last line that is not blank, empty if there is none."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), b"")


def words(raw: bytes) -> str:
    """Return a message of ssh's as it is shown in a reason; what ssh escaped itself (strnvis) stays as it is."""
    return printable(raw.strip()).removeprefix("ssh: ")


def signal_name(returncode: int) -> str:
    """Return `signal 15 (SIGTERM)` for -15."""
    try:
        return f"signal {-returncode} ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"signal {-returncode}"
