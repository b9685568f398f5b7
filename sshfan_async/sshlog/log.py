"""The state machine over the lines of one ssh's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sshfan_async.sshlog.ending import Ending, Facts, judge, printable
from sshfan_async.sshlog.lines import MESSAGE, Line, Style, read
from sshfan_async.sshlog.stamps import Stamps

if TYPE_CHECKING:
    from sshfan_async.outcome import Phase

__all__ = ["SshLog"]

_LONGEST = 4096
"""Bytes kept of a line: four times what ssh writes at most."""

_KEPT = 400
"""Bytes kept of a message for the reason."""

_NOTHING: frozenset[str] = frozenset()


class SshLog:
    """One attempt's log: feed it as it comes, ask it at any time, end it once with ssh's return code.

    One lives per host in flight. It keeps stamps and at most two of ssh's messages, never the command's text.
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
        "_foreign",
        "_keyed",
        "_last",
        "_over_master",
        "_parted",
        "_partial",
        "_peer",
        "_pid",
        "_proxied",
        "_real",
        "_remote_end",
        "_saw",
        "_sent",
        "_style",
        "_unseen",
        "_why",
    )

    def __init__(self, style: Style, pid: int | None = None, *, real: bool = False) -> None:
        """`style`: how ssh was told to log. `pid`: the child's. `real`: the program says it is OpenSSH (`ssh -V`).

        The pid in the first tag counts more than `pid`: a wrapper around ssh that does not exec has another one.
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
        self._foreign = 0
        self._parted = False
        self._doubted = False
        self._unseen = False

    def feed(self, data: bytes, at: float) -> None:
        """Take the next bytes of the log, cut anywhere, read at `at` (monotonic seconds)."""
        if not data:
            return
        self._at = at
        data, start = self._partial + data, 0
        while (end := data.find(b"\r\n", start)) >= 0:
            self._take(data[start : min(end, start + _LONGEST)], at)
            start = end + 2
        rest = data[start:]
        if len(rest) > _LONGEST:
            rest = rest[:_LONGEST] + (b"\r" if rest.endswith(b"\r") else b"")
        self._partial = rest

    @property
    def sent_at(self) -> float | None:
        """When the command left, as far as the log shows; None before."""
        return self._sent

    @property
    def silent(self) -> bool:
        """Whether nothing shows when the command left, as `Stamps.silent` says."""
        return self._unseen or (self._at is None and not self._real)

    @property
    def authenticated(self) -> bool:
        """Whether the server let us in."""
        return self._authenticated is not None

    @property
    def peer(self) -> str | None:
        """What ssh connects to, for pacing: `"IP port P"`, `"jump host NAME"` or `"ProxyCommand PROGRAM"`."""
        return self._peer

    @property
    def stamps(self) -> Stamps:
        """The stamps so far."""
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
        """Return the phase it is in now."""
        return self.stamps.phase

    def end(self, returncode: int, stderr: bytes = b"") -> Ending:
        """Say how it ended: `returncode` as asyncio gives it (negative: a signal), `stderr` the child's, or its tail.

        Call it when the log is drained. What remains of a cut last line counts as a line.
        """
        if self._partial:
            self._take(self._partial[:_LONGEST], self._at or 0.0)
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
        ending = judge(facts, returncode, stderr)
        self._unseen = ending.sent and self._sent is None
        return ending

    def _take(self, raw: bytes, at: float) -> None:
        line = read(raw, self._style)
        size = len(raw) + 2
        reach, self._foreign = self._foreign, max(self._foreign - size, 0)
        ours = line.pid is not None and line.pid == self._pid
        doubtful = reach > 0 and not ours
        if doubtful and (self._parted or (line.pid is not None and self._pid is not None)):
            return
        if not doubtful and line.pid is not None:
            self._pid = line.pid
        if line.kind in ("told", "refused", "parting"):
            self._foreign = max(self._foreign, MESSAGE - size)
            self._parted = line.kind == "parting" and not doubtful
        self._exit_status = None  # "Exit status" is the last line that ssh writes: an earlier one is not ssh's
        if not doubtful or self._follows(line.kind):
            self._learn(line, at, doubtful)

    def _follows(self, kind: str) -> bool:
        """Whether a line that may be the host's text can be ssh's, by the order of things."""
        if kind in ("connecting", "proxy", "connected", "version", "banner"):
            return False
        if kind in ("sent", "accepted", "remote_end") or kind.startswith("mux_"):
            return self._authenticated is not None
        return kind != "authenticated" or self._keyed is not None

    def _learn(self, line: Line, at: float, doubtful: bool) -> None:
        match line.kind:
            case "connecting" | "proxy":
                self._dial(line, at)
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
                self._last = line.text[:_KEPT]
            case "accepted":
                if self._sent is not None and self._accepted is None:
                    self._accepted = at
            case "remote_end" | "mux_exit":
                self._remote_ended(line, at)
            case "exit":
                assert line.match is not None
                self._exit_status = int(line.match["status"])
            case "banner":
                assert line.match is not None
                if not self._why and line.match["said"]:
                    self._why = b"the host said: " + line.match["said"][:_KEPT]
            case "because":
                self._why = self._last = line.text[:_KEPT]
            case "refused" | "parting" | "note":
                self._last = line.text[:_KEPT]

    def _dial(self, line: Line, at: float) -> None:
        assert line.match is not None
        self._asked_master, self._why = False, b""
        self._proxied = line.kind == "proxy"
        if self._connecting is None:
            self._connecting = at
        if self._proxied:
            self._peer = _proxy(line.match["command"])
        else:
            self._peer = printable(b"%b port %b" % (line.match["ip"], line.match["port"]))

    def _send(self, at: float) -> None:
        if self._sent is None:
            self._sent = at
            self._last = self._why = b""
        self._asked_master = False

    def _remote_ended(self, line: Line, at: float) -> None:
        if self._sent is None or line.match is None:
            return
        if self._remote_end is None:
            self._remote_end = at
        if line.kind == "mux_exit":
            self._exit_status = int(line.match["mux_status"])
            self._saw |= {"status"}
        else:
            self._saw |= {line.match["how"].decode()}


def _proxy(command: bytes) -> str:
    """Name a proxy without its arguments, which may hold secrets: the last hop of `ssh -W`, else the program.

    ssh.c builds ProxyJump's command as `exec SSH [options] -W '[HOST]:PORT' JUMP`.
    """
    words = command[:_KEPT].split()
    if b"-W" in words[:-2] or (len(words) > 2 and len(words[-2]) > 2 and words[-2].startswith(b"-W")):
        return printable(b"jump host " + words[-1])
    return printable(b"ProxyCommand " + next((word for word in words if word != b"exec"), b""))
