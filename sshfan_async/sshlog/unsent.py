"""Decides the verdict if the log shows no sent command: why it was not sent, and whether the cause can pass."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sshfan_async.outcome import Status
from sshfan_async.sshlog.diagnostics import last_line, signal_name, words
from sshfan_async.sshlog.verdict import KILLED, lost, not_sent

if TYPE_CHECKING:
    from sshfan_async.sshlog.verdict import Facts, Verdict

__all__ = ["unsent"]

# The patterns are compiled on first use: only failures need them, and at import they would take 4 ms.

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


def unsent(facts: Facts, returncode: int, stderr: bytes) -> Verdict:
    """Return the verdict on an attempt whose log shows no sent command."""
    stamps, last = facts.stamps, facts.last
    killed = re.match(KILLED, last)
    if returncode < 0 or killed:
        by = signal_name(-int(killed[1]) if killed else returncode)
        return not_sent(Status.LOCAL, facts, f"ssh was killed on this machine by {by} before the command was sent")
    if returncode != 255:
        return lost(facts, f"ssh exited with {returncode}, but its log does not show that the command was sent")
    if re.match(_UNRESOLVED, last):
        return not_sent(Status.UNRESOLVED, facts, _reason(facts))
    if stamps.connected is None and re.match(_EXHAUSTED, last):
        return not_sent(Status.LOCAL, facts, _reason(facts), transient=True)
    if stamps.connecting is None:
        return not_sent(Status.LOCAL, facts, _reason(facts))
    if stamps.connected is None:
        return _behind_proxy(facts, stderr) if facts.proxied else not_sent(Status.UNREACHABLE, facts, _reason(facts))
    if stamps.keyed is None and re.match(_HOST_KEY, last):
        hint = "" if facts.why else " Is its key in known_hosts?"
        return not_sent(Status.HOST_KEY, facts, _reason(facts) + hint)
    if stamps.keyed is not None and stamps.authenticated is None and not facts.doubted and re.match(_DENIED, last):
        return not_sent(Status.AUTH, facts, _reason(facts))
    can_pass = _can_pass(facts)
    return not_sent(Status.DROPPED, facts, _reason(facts), transient=can_pass, by_peer=can_pass and not facts.proxied)


def _can_pass(facts: Facts) -> bool:
    if facts.why and facts.stamps.keyed is None:
        return bool(re.match(_BUSY, facts.why) or re.match(_PASSING, facts.why))
    if not facts.last:
        return facts.stamps.authenticated is not None
    return re.match(_PASSING, facts.last) is not None


def _reason(facts: Facts) -> str:
    last, why = words(facts.last), words(facts.why)
    if not last and facts.stamps.authenticated is not None:
        last = "the connection was closed before the command was sent"
    elif not last:
        last = "ssh exited with 255 and its log gives no reason"
    return f"{last} ({why})" if why and why not in last else last


# Messages of a jump host's ssh on stderr (its LogLevel is the user's). The first of these lines is the cause; the
# others are its consequences. `dropped`: the jump host closed the connection, which can pass.
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


def _behind_proxy(facts: Facts, stderr: bytes) -> Verdict:
    """Return the verdict if no version line of the server came through the proxy."""
    peer = facts.peer or "the proxy"
    found = re.search(_JUMP, stderr)
    if found is not None:
        line = stderr[found.start() :].splitlines()[0]
        dropped = found["dropped"] is not None
        status = Status.DROPPED if dropped else Status.UNREACHABLE
        return not_sent(status, facts, f"{peer}: {words(line)}", transient=dropped, by_peer=dropped)
    message = words(last_line(stderr))
    if facts.why or (peer.startswith("jump host ") and not message):
        # If the jump host's ssh fails, it says why. Without a message, the host behind it closed the connection.
        return not_sent(Status.DROPPED, facts, f"{_reason(facts)} (via {peer})", transient=_can_pass(facts))
    return not_sent(Status.UNREACHABLE, facts, f"{peer}: {message or _reason(facts)}")
