"""Reads from the log of a ControlMaster whether the server can send signals to a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sshfan_async.sshlog.log import SshLog

if TYPE_CHECKING:
    from sshfan_async.sshlog.lines import LogStyle

__all__ = ["MasterLog"]

_SOFTWARE = re.compile(rb"remote software version OpenSSH_(\d{1,3})\.(\d{1,3})")
_ROOT = re.compile(rb"Authenticating to \S+ as 'root'\r\n")
_BEGINNING = 16 * 1024


class MasterLog(SshLog):
    """The log of a ControlMaster. Its beginning names the server's software and the user."""

    __slots__ = ("_beginning",)

    def __init__(self, style: LogStyle, *, real: bool) -> None:
        super().__init__(style, real=real)
        self._beginning = b""

    def feed(self, data: bytes, at: float) -> bool:
        """Do what `SshLog.feed` does, and keep the log up to the authentication."""
        if not self.authenticated:
            self._beginning = (self._beginning + data)[:_BEGINNING]
        return super().feed(data, at)

    def takes_signals(self) -> bool:
        """Return whether sshd signals a session's process group: from 7.9 on, for root from 9.8 on (session.c)."""
        software = _SOFTWARE.search(self._beginning)
        if software is None:
            return False
        version = int(software[1]), int(software[2])
        return version >= ((9, 8) if _ROOT.search(self._beginning) else (7, 9))
