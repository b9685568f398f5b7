"""ssh's own messages: finds them at the end of a child's standard error, and makes them safe to show."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from sshfan_async.escape import printable
from sshfan_async.outcome import Status

if TYPE_CHECKING:
    from sshfan_async.sshlog.verdict import Verdict

__all__ = ["diagnostics", "last_line", "signal_name", "strip_diagnostics", "words"]

# clientloop.c: quit_message and its older forms; packet.c: sshpkt_vfatal, of a jump host's ssh. All end in CR LF: a
# command whose lines end in LF alone cannot have written them.
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
    r"""Return `stderr` without the messages that ssh appended (`Connection to H closed ...\r\n`).

    Only if the command was lost. After any other ending, the command itself wrote such a line.
    """
    return stderr[: len(stderr) - len(diagnostics(stderr))] if verdict.status is Status.LOST else stderr


def diagnostics(stderr: bytes) -> bytes:
    """Return the messages that ssh appended to the end of `stderr`."""
    end = len(stderr)
    while found := re.compile(_DIAGNOSTIC).search(stderr, max(end - 1024, 0), end):
        end = found.start()
    return stderr[end:]


def last_line(text: bytes) -> bytes:
    """Return the last line that is not blank; empty if there is none."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), b"")


def words(raw: bytes) -> str:
    """Return a message of ssh's as text for a reason. Escapes that ssh wrote itself (strnvis) do not change."""
    return printable(raw.strip()).removeprefix("ssh: ")


def signal_name(returncode: int) -> str:
    """Return `signal 15 (SIGTERM)` for -15."""
    try:
        return f"signal {-returncode} ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"signal {-returncode}"
