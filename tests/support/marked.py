"""Commands that a test can find among all processes of this machine, by a unique number."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from pathlib import Path


class Mark:
    """A number in a `sleep` that lasts longer than any test."""

    def __init__(self) -> None:
        self.sleep = f"sleep 12345.{secrets.randbelow(10**15):015}"

    def processes(self) -> set[int]:
        """Return the ids of the running processes that have the mark in an argument, on either side of ssh."""
        mark = self.sleep.rpartition(" ")[2].encode()
        return {int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and mark in _arguments(entry)}

    def commands(self) -> set[int]:
        """Return the ids of the processes that are the marked `sleep` itself."""
        wanted = self.sleep.replace(" ", "\0").encode() + b"\0"
        return {pid for pid in self.processes() if _arguments(str(pid)) == wanted}

    def kill(self) -> None:
        """Kill all marked processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _arguments(pid: str) -> bytes:
    """Return the argument list of a process, empty for a zombie and for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
