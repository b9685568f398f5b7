"""Follows the log of one ssh: a state machine that reads it line by line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sshfan_async.sshlog.diagnostics import words
from sshfan_async.sshlog.judge import judge
from sshfan_async.sshlog.lines import MESSAGE, LogStyle, read
from sshfan_async.sshlog.stamps import Stamps
from sshfan_async.sshlog.verdict import Facts

if TYPE_CHECKING:
    from re import Match

    from sshfan_async.outcome import Phase
    from sshfan_async.sshlog.verdict import Verdict

__all__ = ["SshLog"]

_LONGEST = 4096
"""The most bytes that are kept of a line: four times the longest line of ssh."""

_KEPT = 400
"""The most bytes that are kept of a message, for the reason."""

_NOTHING: frozenset[str] = frozenset()

_NEWS = re.compile(b"Connecting to |Executing proxy |Sending command: |master session id: |read from master failed")
"""Matches every line that changes `sent_at` or `peer`, and some others."""

_HOST_TEXT = frozenset({"host_text", "refused", "farewell"})
"""The kinds of lines that contain text from the host, even line breaks."""


class SshLog:
    """The log of one attempt. Call `feed` for each piece of it, and `end` once when ssh has exited.

    It keeps stamps and at most two of ssh's messages, never the command's text. A piece that changes neither
    `sent_at` nor `peer` is parsed later: with the next piece that does, or when a property is read. This halves the
    cost of parsing: a host has about ten pieces, of which three are parsed at once.
    """

    __slots__ = (
        "_accepted",
        "_asked_master",
        "_at",
        "_authenticated",
        "_connected",
        "_connecting",
        "_doubted",
        "_exit_status",
        "_farewell",
        "_host_text",
        "_keyed",
        "_last",
        "_over_master",
        "_partial",
        "_peer",
        "_pid",
        "_proxied",
        "_real",
        "_remote_end",
        "_saw",
        "_sent",
        "_style",
        "_unread",
        "_unread_size",
        "_unseen",
        "_why",
    )

    def __init__(self, style: LogStyle, pid: int | None = None, *, real: bool = False) -> None:
        """`style`: the log options. `pid`: the child's. `real`: whether the program says it is OpenSSH (`ssh -V`).

        The pid in the first tag replaces `pid`: if the child is a wrapper that does not exec ssh, the pids differ.
        """
        self._style = style
        self._pid = pid
        self._real = real
        self._partial = b""
        self._at: float | None = None
        self._connecting: float | None = None
        self._connected: float | None = None
        self._keyed: float | None = None
        self._authenticated: float | None = None
        self._sent: float | None = None
        self._accepted: float | None = None
        self._remote_end: float | None = None
        self._peer: str | None = None
        self._proxied = False
        self._asked_master = False
        self._over_master = False
        self._exit_status: int | None = None
        self._saw = _NOTHING
        self._last = b""
        self._why = b""
        self._host_text = 0
        """How many of the next bytes may be text from the host."""
        self._farewell = False
        """Whether that text follows a farewell, after which ssh writes no more."""
        self._doubted = False
        self._unseen = False
        self._unread: list[tuple[bytes, float]] | None = None
        self._unread_size = 0

    def feed(self, data: bytes, at: float) -> bool:
        """Add the next bytes of the log, which may end inside a line, read at `at` (monotonic seconds).

        Return whether `sent_at`, `peer` or `silent` may have changed.
        """
        if not data:
            return False
        news = (
            self._at is None or self._partial != b"" or not data.endswith(b"\r\n") or _NEWS.search(data) is not None
        )
        self._at = at
        if self._unread is None:
            self._unread = []
        self._unread.append((data, at))
        self._unread_size += len(data)
        if news or self._unread_size > _LONGEST:
            self._parse_unread()
        return news

    @property
    def sent_at(self) -> float | None:
        """Monotonic seconds at which ssh sent the command; None if the log does not show it."""
        if self._unread is not None:
            self._parse_unread()
        return self._sent

    @property
    def silent(self) -> bool:
        """Whether the log does not show when the command was sent (see `Stamps.silent`)."""
        return self._unseen or (self._at is None and not self._real)

    @property
    def may_be_sent(self) -> bool:
        """Whether the command was sent, or ssh can send it at any moment."""
        if self._unread is not None:
            self._parse_unread()
        return self._sent is not None or self._authenticated is not None or self._asked_master

    @property
    def logs_acceptance(self) -> bool:
        """Whether this log shows when the server accepts the command."""
        return self._style is LogStyle.LOGVERBOSE and not self._over_master

    @property
    def authenticated(self) -> bool:
        """Whether the server has authenticated us."""
        if self._unread is not None:
            self._parse_unread()
        return self._authenticated is not None

    @property
    def peer(self) -> str | None:
        """What ssh connects to, for pacing: `"IP port P"`, `"jump host NAME"` or `"ProxyCommand PROGRAM"`."""
        if self._unread is not None:
            self._parse_unread()
        return self._peer

    @property
    def stamps(self) -> Stamps:
        """The stamps so far."""
        if self._unread is not None:
            self._parse_unread()
        return Stamps(
            connecting=self._connecting,
            connected=self._connected,
            keyed=self._keyed,
            authenticated=self._authenticated,
            sent=self._sent,
            accepted=self._accepted,
            remote_end=self._remote_end,
            silent=self.silent,
        )

    def phase(self) -> Phase:
        """Return the current phase."""
        return self.stamps.phase

    def end(self, returncode: int, stderr: bytes = b"") -> Verdict:
        """Return the verdict. Call it once, when the child has exited and the log is drained.

        `returncode`: as asyncio returns it, negative for a signal. `stderr`: the child's standard error, or its tail.
        An incomplete last line counts as a line.
        """
        self._parse_unread()
        if self._partial:
            self._parse_line(self._partial[:_LONGEST], self._at or 0.0)
            self._partial = b""
        facts = Facts(
            stamps=self.stamps,
            logged=self._at is not None,
            peer=self._peer,
            proxied=self._proxied,
            asked_master=self._asked_master,
            over_master=self._over_master,
            exit_status=self._exit_status,
            saw=self._saw,
            last=self._last,
            why=self._why,
            doubted=self._doubted,
        )
        verdict = judge(facts, returncode, stderr)
        self._unseen = verdict.sent and self._sent is None
        return verdict

    def _parse_unread(self) -> None:
        unread, self._unread, self._unread_size = self._unread, None, 0
        for data, at in unread or ():
            *lines, rest = (self._partial + data).split(b"\r\n")
            for line in lines:
                self._parse_line(line[:_LONGEST], at)
            if len(rest) > _LONGEST:
                rest = rest[:_LONGEST] + (b"\r" if rest.endswith(b"\r") else b"")
            self._partial = rest

    def _parse_line(self, raw: bytes, at: float) -> None:
        kind, match, start, pid = read(raw, self._style)
        doubtful = False
        if self._host_text > 0:
            doubtful = pid is None or pid != self._pid
            self._host_text = max(self._host_text - len(raw) - 2, 0)
            if doubtful and (self._farewell or (pid is not None and self._pid is not None)):
                return
        if not doubtful and pid is not None:
            self._pid = pid
        self._exit_status = None  # ssh writes "Exit status" in its last line only
        if kind == "":
            return
        if kind in _HOST_TEXT:
            self._host_text = max(self._host_text, MESSAGE - len(raw) - 2)
            self._farewell = kind == "farewell" and not doubtful
        if not doubtful or self._is_plausible(kind):
            self._apply(kind, match, raw[start:], at, doubtful)

    def _is_plausible(self, kind: str) -> bool:
        """Whether ssh can write a line of `kind` now, given the steps so far. For lines that may be host text."""
        if kind in ("connecting", "proxy", "connected", "version", "banner"):
            return False
        if kind in ("sent", "accepted", "remote_end") or kind.startswith("mux_"):
            return self._authenticated is not None
        return kind != "authenticated" or self._keyed is not None

    def _apply(self, kind: str, found: Match[bytes] | None, text: bytes, at: float, doubtful: bool) -> None:
        match kind:
            case "connecting" | "proxy":
                self._connect(kind, found, at)
            case "connected" | "version":
                if self._connected is None:
                    self._connected = at
                self._why = b""
            case "keyed":
                if self._keyed is None:
                    self._keyed, self._doubted = at, doubtful
            case "authenticated":
                if self._authenticated is None:
                    self._authenticated = at
                    self._last = self._why = b""
            case "sent" | "mux_lost":
                self._send(at)
            case "mux_sent":
                self._over_master = True
                self._send(at)
            case "mux_asked":
                self._asked_master = True
            case "mux_refused":
                self._asked_master = False
                self._last = text[:_KEPT]
            case "accepted":
                if self._sent is not None and self._accepted is None:
                    self._accepted = at
            case "remote_end" | "mux_exit":
                self._remote_ended(kind, found, at)
            case "exit":
                assert found is not None
                self._exit_status = int(found["status"])
            case "banner":
                assert found is not None
                if not self._why and found["said"]:
                    self._why = b"the host said: " + found["said"][:_KEPT]
            case "cause":
                self._why = self._last = text[:_KEPT]
            case "refused" | "farewell" | "note":
                self._last = text[:_KEPT]

    def _connect(self, kind: str, found: Match[bytes] | None, at: float) -> None:
        assert found is not None
        self._asked_master, self._why = False, b""
        self._proxied = kind == "proxy"
        if self._connecting is None:
            self._connecting = at
        if self._proxied:
            self._peer = _proxy(found["command"])
        else:
            self._peer = words(b"%b port %b" % (found["ip"], found["port"]))

    def _send(self, at: float) -> None:
        if self._sent is None:
            self._sent = at
            self._last = self._why = b""
        self._asked_master = False

    def _remote_ended(self, kind: str, found: Match[bytes] | None, at: float) -> None:
        if self._sent is None or found is None:
            return
        if self._remote_end is None:
            self._remote_end = at
        if kind == "mux_exit":
            self._exit_status = int(found["mux_status"])
            self._saw |= {"status"}
        else:
            self._saw |= {found["how"].decode()}


def _proxy(command: bytes) -> str:
    """Return a name for a proxy: the jump host in `ssh -W`, else the program without its arguments.

    The arguments may contain secrets. ssh.c builds ProxyJump's command as `exec SSH [options] -W '[HOST]:PORT' JUMP`.
    """
    arguments = command[:_KEPT].split()
    if b"-W" in arguments[:-2] or (len(arguments) > 2 and len(arguments[-2]) > 2 and arguments[-2].startswith(b"-W")):
        return words(b"jump host " + arguments[-1])
    return words(b"ProxyCommand " + next((each for each in arguments if each != b"exec"), b""))
