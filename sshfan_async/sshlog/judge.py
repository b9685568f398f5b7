"""Decides the verdict on an attempt that has ended: the strongest status on which log and return code agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sshfan_async.outcome import Phase, Status
from sshfan_async.sshlog.diagnostics import diagnostics, last_line, signal_name, words
from sshfan_async.sshlog.unsent import unsent
from sshfan_async.sshlog.verdict import KILLED, Verdict, exited, lost, not_sent, shortened

if TYPE_CHECKING:
    from sshfan_async.sshlog.verdict import Facts

__all__ = ["judge"]


def judge(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    """Return the strongest status on which log and return code agree."""
    if not facts.logged:
        return _unlogged(facts, returncode, stderr)
    if facts.stamps.sent is not None:
        return _sent(facts, returncode, stderr)
    if facts.asked_master or (facts.stamps.connecting is None and (not facts.last or 0 <= returncode < 255)):
        return _over_silent_master(facts, returncode, stderr)
    return unsent(facts, returncode, stderr)


# Messages on stderr from before ssh opens its log: ssh.c (main, usage), readconf.c for `-o`, getopt, the dynamic
# linker, entropy.c, and the shell of a wrapper around ssh.
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


def _unlogged(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    stand_in = facts.stamps.silent
    if returncode == 0:
        return Verdict(status=Status.OK, sent=True, exit_code=0, phase=Phase.RUN)
    if returncode < 0:
        by = signal_name(returncode)
        reason = f"the ssh program was killed on this machine by {by}"
        return not_sent(Status.LOCAL, facts, reason)._replace(sent=stand_in)
    if not stand_in or (returncode in (1, 127, 255) and re.search(_NO_START, stderr)):
        return _no_start(returncode, stderr)
    return exited(returncode, Phase.RUN)


def _no_start(returncode: int, stderr: bytes) -> Verdict:
    found = re.search(_NO_START, stderr)
    message = last_line(stderr) if found is None else stderr[found.start() :].splitlines()[0]
    reason = words(message) or f"ssh exited with {returncode} and printed no message"
    return Verdict(status=Status.LOCAL, sent=False, phase=Phase.RESOLVE, reason=shortened(reason))


_NO_ANSWER = "the ControlMaster sent no exit status: the command was killed, or the master or its connection ended"


def _sent(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    phase, status = facts.stamps.phase, facts.exit_status
    killed = re.match(KILLED, facts.last) if status is None else None
    if returncode < 0 or killed:
        by = signal_name(-int(killed[1]) if killed else returncode)
        return lost(facts, f"ssh was killed on this machine by {by} after the command was sent")
    if status is not None and status != -1 and status & 0xFF == returncode:
        return exited(status & 0xFFFFFFFF, phase)
    if returncode == 255:
        last_message = facts.last or last_line(diagnostics(stderr))
        if not last_message and facts.saw == {"signal"}:
            reason = "the remote command was killed by a signal"
            return Verdict(status=Status.SIGNALLED, sent=True, phase=phase, reason=reason)
        if not last_message and facts.saw == {"status"} and status == -1:
            return exited(0xFFFFFFFF, phase)  # ssh prints it as a signed number
        if facts.over_master and not facts.last:
            return lost(facts, _NO_ANSWER)
        why = words(last_message) or "no exit status arrived"
        refused = facts.last.startswith(b"exec request failed")  # clientloop.c: client_status_confirm
        what = "the host refused the command" if refused else "the connection was lost after the command was sent"
        return lost(facts, f"{what}: {why}")
    if status is None and (facts.over_master or "status" in facts.saw):
        return exited(returncode, phase)
    return lost(facts, f"ssh exited with {returncode}, but its log does not show how the command ended")


def _over_silent_master(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    """Judge a log that shows no step: with a ControlMaster, ssh before 8.3 logs none at DEBUG1 (mux.c)."""
    if returncode < 0 and not facts.asked_master:
        reason = f"ssh was killed on this machine by {signal_name(returncode)} before the command was sent"
        return not_sent(Status.LOCAL, facts, reason)
    if returncode < 0:
        reason = f"ssh was killed on this machine by {signal_name(returncode)} while it used a ControlMaster"
        return lost(facts, reason)
    if returncode == 255 and not facts.asked_master and re.search(_NO_START, stderr):
        return _no_start(returncode, stderr)
    if returncode == 255:
        return lost(facts, words(facts.last) or _NO_ANSWER)
    return exited(returncode, Phase.RUN)
