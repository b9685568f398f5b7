"""What is known of a run at its end → its status and the reason, in ssh's own words where it has them."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sshfan_async.outcome import Phase, Status

if TYPE_CHECKING:
    from sshfan_async.sshlog.stamps import Stamps

__all__ = ["Ending", "Facts", "judge", "printable", "strip_diagnostics"]

_SHORT = 300
"""Characters of a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one attempt ended, as ssh's log, its return code and its stderr agree."""

    status: Status
    sent: bool
    """Whether the command can have reached the host."""
    exit_code: int | None = None
    """The remote command's own exit code, where one came."""
    phase: Phase
    """The phase it ended in."""
    reason: str = ""
    """One line, control characters escaped."""
    transient: bool = False
    """Not sent, and the cause can pass: a connection dropped by a busy host or jump host, or too few
    processes or descriptors here. Worth another try, later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What `SshLog` gathered."""

    stamps: Stamps
    logged: bool
    peer: str | None
    proxied: bool
    asked_master: bool
    """A ControlMaster was asked for a session, and the log shows no answer."""
    over_master: bool
    exit_status: int | None
    """ssh's last word on the exit status, if that was the log's last line; -1: none came."""
    saw: frozenset[str]
    """`"status"`, `"signal"`: what the server sent at the command's end."""
    last: bytes
    """ssh's last message to its user since the last step forward."""
    why: bytes
    """An earlier message that explains the last one."""
    doubted: bool
    """The key exchange may be no more than the host's text."""


def judge(facts: Facts, returncode: int, stderr: bytes) -> Ending:
    """Give the strongest status that log and return code agree on."""
    if not facts.logged:
        return _unlogged(facts, returncode, stderr)
    if facts.stamps.sent is not None:
        return _sent(facts, returncode, stderr)
    if facts.asked_master or (facts.stamps.connecting is None and (not facts.last or 0 <= returncode < 255)):
        return _over_silent_master(facts, returncode, stderr)
    return _unsent(facts, returncode, stderr)


# --- no log at all ---------------------------------------------------------------------------------------------

# The patterns of this module are compiled at their first use: for failures only, and 4 ms of every start else.

# What ssh says on stderr before it opens the log: ssh.c (main, usage), readconf.c for `-o`, getopt, the dynamic
# linker, entropy.c; and a shell that wraps it.
_NO_START = rb"""(?mx)^(?:
      command-line:?\ line\ \d+:\ | .*\ line\ \d+:?\ (?:(?:\w+\ )*option|keyword|no\ argument|[Mm]issing\ arg)
    | .*terminating,\ \d+\ bad\ configuration | .*(?:illegal|invalid|unrecognized|unknown)\ option
    | .*option\ requires\ an\ argument | usage:\ ssh\b | Bad\ owner\ or\ permissions\ on | Can't\ open\ user\ config
    | Couldn't\ open\ logfile | No\ user\ exists\ for\ uid | (?:hostname|remote\ username)\ contains\ invalid
    | Bad\ (?:port|(?:local|remote|dynamic|stdio)\ forwarding|escape|tun) | Unknown\ (?:cipher|mac)\ type
    | Cannot\ specify\ | Can't\ specify\ | Only\ a\ single\ -J | Invalid\ -J | Invalid\ multiplex | Unsupported\ query
    | Cannot\ execute\ command-line | SSH\ protocol\ v.1\ is | .*error\ while\ loading\ shared\ libraries
    | .*OpenSSL\ version\ mismatch | .*PRNG\ is\ not\ seeded
    )"""


def _unlogged(facts: Facts, returncode: int, stderr: bytes) -> Ending:
    stand_in = facts.stamps.silent
    if returncode == 0:
        return Ending(status=Status.OK, sent=True, exit_code=0, phase=Phase.RUN)
    if returncode < 0:
        by = _signal(returncode)
        return replace(_ending(Status.LOCAL, facts, f"the ssh program was ended here by {by}"), sent=stand_in)
    if not stand_in or (returncode in (1, 127, 255) and re.search(_NO_START, stderr)):
        return _no_start(returncode, stderr)
    return _exited(returncode, Phase.RUN)


def _no_start(returncode: int, stderr: bytes) -> Ending:
    told = re.search(_NO_START, stderr)
    said = _last_line(stderr) if told is None else stderr[told.start() :].splitlines()[0]
    reason = printable(said) or f"ssh exited with {returncode} and said nothing"
    return Ending(status=Status.LOCAL, sent=False, phase=Phase.RESOLVE, reason=_cut(reason))


# --- the command was sent --------------------------------------------------------------------------------------

_NO_ANSWER = "the ControlMaster gave no exit status: the command was killed, or the master or its connection ended"
_KILLED = rb"Killed by signal (\d+)\.$"  # clientloop.c: client_loop; the last line of that process


def _sent(facts: Facts, returncode: int, stderr: bytes) -> Ending:
    phase, status = facts.stamps.phase, facts.exit_status
    killed = re.match(_KILLED, facts.last) if status is None else None
    if returncode < 0 or killed:
        by = _signal(-int(killed[1]) if killed else returncode)
        return _lost(facts, f"ssh was ended here by {by} after the command was sent")
    cut_off = facts.last or _last_line(_diagnostics(stderr))
    if status is not None and status != -1 and status & 0xFF == returncode:
        return _exited(status & 0xFFFFFFFF, phase)
    if returncode == 255:
        if not cut_off and facts.saw == {"signal"}:
            reason = "the remote command was ended by a signal"
            return Ending(status=Status.SIGNALLED, sent=True, phase=phase, reason=reason)
        if not cut_off and facts.saw == {"status"} and status == -1:
            return _exited(0xFFFFFFFF, phase)  # ssh prints the number as a signed one
        if facts.over_master and not facts.last:
            return _lost(facts, _NO_ANSWER)
        said = printable(cut_off) or "closed before an exit status came"
        refused = facts.last.startswith(b"exec request failed")  # clientloop.c: client_status_confirm
        what = "the host refused the command" if refused else "the connection was lost after the command was sent"
        return _lost(facts, f"{what}: {said}")
    if status is None and (facts.over_master or "status" in facts.saw):
        return _exited(returncode, phase)
    return _lost(facts, f"ssh exited with {returncode}, but its log does not show how the command ended")


def _lost(facts: Facts, reason: str) -> Ending:
    phase = facts.stamps.phase if facts.stamps.sent is not None else Phase.RUN
    return Ending(status=Status.LOST, sent=True, phase=phase, reason=_cut(reason))


def _exited(code: int, phase: Phase) -> Ending:
    if code == 0:
        return Ending(status=Status.OK, sent=True, exit_code=0, phase=phase)
    reason = f"the command exited with {code}"
    return Ending(status=Status.FAILED, sent=True, exit_code=code, phase=phase, reason=reason)


def _over_silent_master(facts: Facts, returncode: int, stderr: bytes) -> Ending:
    """Judge a log without a step: over a master, ssh before 8.3 writes nothing more at DEBUG1 (mux.c)."""
    if returncode < 0 and not facts.asked_master:
        return _ending(
            Status.LOCAL, facts, f"ssh was ended here by {_signal(returncode)} before the command was sent"
        )
    if returncode < 0:
        return _lost(facts, f"ssh was ended here by {_signal(returncode)} while it used a ControlMaster")
    if returncode == 255 and not facts.asked_master and re.search(_NO_START, stderr):
        return _no_start(returncode, stderr)
    if returncode == 255:
        return _lost(facts, printable(facts.last) or _NO_ANSWER)
    return _exited(returncode, Phase.RUN)


# --- the command was not sent ----------------------------------------------------------------------------------

_UNRESOLVED = rb"\S+: Could not resolve host"  # ssh.c: resolve_host, resolve_canonicalize
_EXHAUSTED = (
    rb".*(?:Resource temporarily unavailable|Too many open files|Cannot allocate memory|No buffer space available)"
)
_HOST_KEY = rb"Host key verification failed\.$|Server host key \S+ not in HostKeyAlgorithms$"
_DENIED = (  # sshconnect2.c: userauth; RFC 4253, 11.1: 14 is "no more auth methods available"
    rb"(?s).*: Permission denied \(.*\)\.$|Authentication failed\.$"
    rb"|Received disconnect from \S+ port -?\d+:(?:14: |2: Too many authentication failures)"
)
# packet.c: sshpkt_vfatal; kex.c: kex_exchange_identification; RFC 4253, 11.1: 10 to 12
_PASSING = rb"""(?x)
      Connection\ (?:closed|reset)\ by\ | Connection\ to\ .*\ timed\ out$ | Timeout,\ server\
    | Connection\ timed\ out\ during\ banner | (?:\w+:\ )?(?:Connection\ closed\ by\ remote\ host|(?:read|write):\ )
    | .*:\ (?:Broken\ pipe|Connection\ reset\ by\ peer|Connection\ timed\ out|No\ route\ to\ host
             |Network\ is\ unreachable)$
    | Received\ disconnect\ from\ \S+\ port\ -?\d+:1[012]:\ | channel\ \d+:\ open\ failed:\ resource\ shortage
    """
_BUSY = rb"the host said: (?:Exceeded MaxStartups|Not allowed at this time)"  # sshd.c: drop_connection


def _unsent(facts: Facts, returncode: int, stderr: bytes) -> Ending:
    stamps, last = facts.stamps, facts.last
    killed = re.match(_KILLED, last)
    if returncode < 0 or killed:
        by = _signal(-int(killed[1]) if killed else returncode)
        return _ending(Status.LOCAL, facts, f"ssh was ended here by {by} before the command was sent")
    if returncode != 255:
        return _lost(facts, f"ssh exited with {returncode}, but its log does not show that the command was sent")
    if re.match(_UNRESOLVED, last):
        return _ending(Status.UNRESOLVED, facts, _said(facts))
    if stamps.connected is None and re.match(_EXHAUSTED, last):
        return _ending(Status.LOCAL, facts, _said(facts), transient=True)
    if stamps.connecting is None:
        return _ending(Status.LOCAL, facts, _said(facts))
    if stamps.connected is None:
        return _behind_proxy(facts, stderr) if facts.proxied else _ending(Status.UNREACHABLE, facts, _said(facts))
    if stamps.keyed is None and re.match(_HOST_KEY, last):
        hint = "" if facts.why else " Is its key in known_hosts?"
        return _ending(Status.HOST_KEY, facts, _said(facts) + hint)
    if stamps.keyed is not None and stamps.authenticated is None and not facts.doubted and re.match(_DENIED, last):
        return _ending(Status.AUTH, facts, _said(facts))
    return _ending(Status.DROPPED, facts, _said(facts), transient=_can_pass(facts))


def _can_pass(facts: Facts) -> bool:
    if facts.why and facts.stamps.keyed is None:
        return bool(re.match(_BUSY, facts.why) or re.match(_PASSING, facts.why))
    if not facts.last:
        return facts.stamps.authenticated is not None
    return re.match(_PASSING, facts.last) is not None


def _ending(status: Status, facts: Facts, reason: str, *, transient: bool = False) -> Ending:
    return Ending(status=status, sent=False, phase=facts.stamps.phase, reason=_cut(reason), transient=transient)


def _said(facts: Facts) -> str:
    last, why = printable(facts.last), printable(facts.why)
    if not last and facts.stamps.authenticated is not None:
        last = "the connection was closed before the command was sent"
    elif not last:
        last = "ssh exited with 255 and its log gives no reason"
    return f"{last} ({why})" if why and why not in last else last


# What a jump host's ssh says on stderr (its LogLevel is the user's): the first of these lines is the cause, the
# later ones its consequences. `dropped`: the jump host closed on us, which can pass.
_JUMP = rb"""(?mx)^(?:
      (?P<dropped>
        Connection\ (?:closed|reset)\ by\ \S+\ port\ \d+ | Connection\ to\ \S+\ port\ \d+\ timed\ out
      | (?:kex|ssh)_exchange_identification:\ | Connection\ timed\ out\ during\ banner\ exchange
      | banner\ exchange:\ Connection\ to\ .*:\ (?:Broken\ pipe|Connection\ reset\ by\ peer)
      | Timeout,\ server\ .*\ not\ responding\. | Connection\ to\ \S+\ closed\ by\ remote\ host\.
      )
    | \S+:\ Could\ not\ resolve\ host | ssh:\ connect\ to\ host\ | .*:\ Permission\ denied\ \(
    | Authentication\ failed | Host\ key\ verification\ failed | channel\ \d+:\ open\ failed:
    | stdio\ forwarding\ failed | Received\ disconnect\ from\ | Unable\ to\ negotiate\ with\
    | Protocol\ major\ versions | .*\ line\ \d+: | .*(?:illegal|unknown)\ option
    )"""


def _behind_proxy(facts: Facts, stderr: bytes) -> Ending:
    """Judge a proxy that gave no server's version line."""
    peer = facts.peer or "the proxy"
    told = re.search(_JUMP, stderr)
    if told is not None:
        line = stderr[told.start() :].splitlines()[0]
        dropped = told["dropped"] is not None
        status = Status.DROPPED if dropped else Status.UNREACHABLE
        return _ending(status, facts, f"{peer}: {printable(line)}", transient=dropped)
    said = printable(_last_line(stderr))
    if facts.why or (peer.startswith("jump host ") and not said):
        # The jump host's ssh says why it fails; where it says nothing, the host behind it closed on us.
        return _ending(Status.DROPPED, facts, f"{_said(facts)} (via {peer})", transient=_can_pass(facts))
    return _ending(Status.UNREACHABLE, facts, f"{peer}: {said or _said(facts)}")


# --- text ------------------------------------------------------------------------------------------------------

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


def strip_diagnostics(stderr: bytes, ending: Ending) -> bytes:
    r"""Take from the end of a lost command's `stderr` what ssh itself appended (`Connection to H closed ...\r\n`).

    Any other ending's stderr is returned as it is: there the same words are the command's own.
    """
    return stderr[: len(stderr) - len(_diagnostics(stderr))] if ending.status is Status.LOST else stderr


def _diagnostics(stderr: bytes) -> bytes:
    end = len(stderr)
    while found := re.compile(_DIAGNOSTIC).search(stderr, max(end - 1024, 0), end):
        end = found.start()
    return stderr[end:]


def _last_line(text: bytes) -> bytes:
    return next((line for line in reversed(text.splitlines()) if line.strip()), b"")


def printable(raw: bytes) -> str:
    """Make ssh's words fit for one line of a reason. What ssh escaped itself (strnvis) stays as it is."""
    text = raw.decode("utf-8", "backslashreplace").strip().removeprefix("ssh: ")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _cut(reason: str) -> str:
    return reason if len(reason) <= _SHORT else reason[: _SHORT - 1] + "…"


def _signal(returncode: int) -> str:
    try:
        return f"signal {-returncode} ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"signal {-returncode}"
