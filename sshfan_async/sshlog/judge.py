"""What is known at the end of an attempt -> the verdict: the strongest status that log and return code agree on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from sshfan_async.outcome import Phase, Status
from sshfan_async.sshlog.diagnostics import diagnostics, last_line, signal_name, words
from sshfan_async.sshlog.unsent import unsent
from sshfan_async.sshlog.verdict import KILLED, Verdict, exited, lost, not_sent, shortened

if TYPE_CHECKING:
    from sshfan_async.sshlog.verdict import Facts

__all__ = ["judge"]


def judge(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    """Give the strongest status that log and return code agree on."""
    if not facts.logged:
        return _unlogged(facts, returncode, stderr)
    if facts.stamps.sent is not None:
        return _sent(facts, returncode, stderr)
    if facts.asked_master or (facts.stamps.connecting is None and (not facts.last or 0 <= returncode < 255)):
        return _over_silent_master(facts, returncode, stderr)
    return unsent(facts, returncode, stderr)


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


def _unlogged(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    stand_in = facts.stamps.silent
    if returncode == 0:
        return Verdict(status=Status.OK, sent=True, exit_code=0, phase=Phase.RUN)
    if returncode < 0:
        by = signal_name(returncode)
        return replace(not_sent(Status.LOCAL, facts, f"the ssh program was ended here by {by}"), sent=stand_in)
    if not stand_in or (returncode in (1, 127, 255) and re.search(_NO_START, stderr)):
        return _no_start(returncode, stderr)
    return exited(returncode, Phase.RUN)


def _no_start(returncode: int, stderr: bytes) -> Verdict:
    told = re.search(_NO_START, stderr)
    said = last_line(stderr) if told is None else stderr[told.start() :].splitlines()[0]
    reason = words(said) or f"ssh exited with {returncode} and said nothing"
    return Verdict(status=Status.LOCAL, sent=False, phase=Phase.RESOLVE, reason=shortened(reason))


_NO_ANSWER = "the ControlMaster gave no exit status: the command was killed, or the master or its connection ended"


def _sent(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    phase, status = facts.stamps.phase, facts.exit_status
    killed = re.match(KILLED, facts.last) if status is None else None
    if returncode < 0 or killed:
        by = signal_name(-int(killed[1]) if killed else returncode)
        return lost(facts, f"ssh was ended here by {by} after the command was sent")
    cut_off = facts.last or last_line(diagnostics(stderr))
    if status is not None and status != -1 and status & 0xFF == returncode:
        return exited(status & 0xFFFFFFFF, phase)
    if returncode == 255:
        if not cut_off and facts.saw == {"signal"}:
            reason = "the remote command was ended by a signal"
            return Verdict(status=Status.SIGNALLED, sent=True, phase=phase, reason=reason)
        if not cut_off and facts.saw == {"status"} and status == -1:
            return exited(0xFFFFFFFF, phase)  # ssh prints the number as a signed one
        if facts.over_master and not facts.last:
            return lost(facts, _NO_ANSWER)
        said = words(cut_off) or "closed before an exit status came"
        refused = facts.last.startswith(b"exec request failed")  # clientloop.c: client_status_confirm
        what = "the host refused the command" if refused else "the connection was lost after the command was sent"
        return lost(facts, f"{what}: {said}")
    if status is None and (facts.over_master or "status" in facts.saw):
        return exited(returncode, phase)
    return lost(facts, f"ssh exited with {returncode}, but its log does not show how the command ended")


def _over_silent_master(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    """Judge a log without a step: over a master, ssh before 8.3 writes nothing more at DEBUG1 (mux.c)."""
    if returncode < 0 and not facts.asked_master:
        return not_sent(
            Status.LOCAL, facts, f"ssh was ended here by {signal_name(returncode)} before the command was sent"
        )
    if returncode < 0:
        return lost(facts, f"ssh was ended here by {signal_name(returncode)} while it used a ControlMaster")
    if returncode == 255 and not facts.asked_master and re.search(_NO_START, stderr):
        return _no_start(returncode, stderr)
    if returncode == 255:
        return lost(facts, words(facts.last) or _NO_ANSWER)
    return exited(returncode, Phase.RUN)
