"""One line of ssh's log → what kind of line it is. The only place that knows ssh's strings.

Sources: log.c (do_log, sshlogv), ssh.c (resolve_host), sshconnect.c, sshconnect2.c, kex.c, packet.c
(sshpkt_vfatal), clientloop.c, channels.c, mux.c of the tags V_8_0_P1 to V_10_5_P1.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TypeAlias

__all__ = ["MESSAGE", "Line", "LogStyle", "read"]

MESSAGE = 1023
"""Bytes of ssh's longest line, its CR LF included (log.c: MSGBUFSIZ). Host text in a line reaches no further."""

_TAG = 127
"""Bytes of a tag, which is cut there (log.c: sshlogv)."""


class LogStyle(StrEnum):
    """How ssh was told to log."""

    DEBUG1 = "debug1"
    """`LogLevel=DEBUG1`: any version; lines have no tag."""
    LOGVERBOSE = "logverbose"
    """`LogLevel=ERROR` and LogVerbose patterns: from 8.5 on; every line that we asked for has a tag."""


Line: TypeAlias = tuple[str, re.Match[bytes] | None, int, int | None]
"""A line, taken apart: what kind it is, its match, where its message begins behind level and tag, and the pid.

The kind is a group's name in `_STEPS` or `_NOTES`, `"note"` for any other message that is no debug message, or `""`.
The pid is that of the process that the tag names: from 8.7 on, unless the tag is cut (10.0 on, long program path).
Plain, for there are 25 of them a host.
"""

# What nearly every line of `LogStyle.LOGVERBOSE` begins with; `_HEAD` takes all others too.
_TAGGED = re.compile(rb"(debug[123]: )?[\w+-]+\.c:\w+\(\):\d+ \(pid=(\d+)\): ")
_HEAD = re.compile(rb"(debug[123]: )?([\w.+-]+\.c:\w+\(\):\d+(?=: | \())?")
_OWNER = re.compile(rb" \((?:bin=.*?, )?pid=(\d+)\): ")

# What ssh tells at a debug level. `told` lines carry the host's text, line breaks included.
_STEPS = re.compile(
    rb"""
      (?P<connecting>Connecting\ to\ .*\[(?P<ip>[^\]]*)\]\ port\ (?P<port>\w+)\.$)
    | (?P<proxy>Executing\ proxy\ (?:dialer\ )?command:\ (?P<command>.*))
    | (?P<connected>Connection\ established\.$)
    | (?P<version>Remote\ protocol\ version\ )
    | (?P<banner>(?:kex_exchange_identification:\ )?banner\ line\ \d+:\ (?P<said>.*))
    | (?P<keyed>SSH2_MSG_NEWKEYS\ received$)
    | (?P<authenticated>Authentication\ succeeded\ \()
    | (?P<sent>Sending\ command:\ )
    | (?P<accepted>exec\ request\ accepted\ on\ channel\ \d+$)
    | (?P<remote_end>client_input_channel_req:\ channel\ \d+\ rtype\ exit-(?P<how>status|signal)\ reply\ \d$)
    | (?P<exit>Exit\ status\ (?P<status>-?\d{1,10})$)
    | (?P<mux_sent>(?:mux_client_\w+:\ )?master\ session\ id:\ \d+$)
    | (?P<mux_exit>Received\ exit\ status\ from\ master\ (?P<mux_status>-?\d{1,10})$)
    | (?P<mux_asked>auto-mux:\ Trying\ existing\ master|(?:mux_client_\w+:\ )?session\ request\ sent$)
    | (?P<mux_refused>Control\ socket\ "|Stale\ control\ socket\ )
    | (?P<told>Remote:\ |Authentications\ that\ can\ continue:\ |client_(?:input|request)_|
               kex_(?:input_)?ext_info|Server\ GSSAPI\ Error:|
               Sending\ env|channel\ \d+:\ setting\ env\ )
    """,
    re.VERBOSE | re.DOTALL,
)

# What ssh tells its user, without a level. `parting` lines carry the host's text, and ssh ends after them.
_NOTES = re.compile(
    rb"""
      (?P<authenticated>Authenticated\ to\ )
    | (?P<parting>Received\ disconnect\ from\ |Unable\ to\ negotiate\ with\ )
    | (?P<refused>channel\ \d+:\ open\ failed:\ )
    | (?P<mux_refused>(?:mux_client_\w+:\ )?session\ request\ failed:\ |Master\ refused\ session\ request:\ |
                      (?:mux\w+:\ )?master\ (?:hello\ exchange|alive\ request)\ failed|Control\ socket\ connect\()
    | (?P<mux_lost>(?:mux_client_\w+:\ )?read\ from\ master\ failed)
    | (?P<noise>Transferred:\ |Bytes\ per\ second:\ |\*\*\ |@|Warning:\ |no\ such\ identity:\ |
                Disconnected\ from\ |ControlSocket\ |Authenticated\ using\ |
                \S+:\ terminating,\ \d+\ bad\ config|.*\ line\ \d+:\ (?:Unsupported|Deprecated)\ option|$)
    | (?P<because>No\ \S+\ host\ key\ is\ known\ for\ |
                  (?:\S+\ host|Host)\ key\ for\ \S+\ (?:has\ changed|was\ revoked)\ and\ |
                  Protocol\ major\ versions\ differ|Connection\ timed\ out\ during\ banner|
                  (?:kex_exchange_identification:\ )?banner\ line\ |.*\ line\ \d+:?\ )
    """,
    re.VERBOSE | re.DOTALL,
)


def read(line: bytes, style: LogStyle) -> Line:
    """Take apart one line of the log, given without its CR LF."""
    head = _TAGGED.match(line)
    if head is None or head.end() > _TAG:
        return _read_other(line, style)
    start = head.end()
    level, pid = head.groups()
    if level is None:
        match = _NOTES.match(line, start)
        return "note" if match is None else match.lastgroup or "note", match, start, int(pid)
    match = _STEPS.match(line, start)
    return "" if match is None else match.lastgroup or "", match, start, int(pid)


def _read_other(line: bytes, style: LogStyle) -> Line:
    """Take apart a line without a tag, or with another one."""
    levelled, tagged, start, pid = _head(line)
    if style is LogStyle.LOGVERBOSE and levelled and not tagged:
        return "", None, start, pid
    match = (_STEPS if levelled else _NOTES).match(line, start)
    kind = "" if levelled else "note"
    if match is not None:
        kind = match.lastgroup or kind
    if kind == "authenticated" and style is LogStyle.LOGVERBOSE and not tagged:
        kind = ""
    return kind, match, start, pid


def _head(line: bytes) -> tuple[bool, bool, int, int | None]:
    """Return whether `line` has a level, whether it has a tag, where the message begins, and the pid."""
    head = _HEAD.match(line)
    assert head is not None, "every part of it is optional"
    levelled, start = head[1] is not None, head.end()
    if head[2] is None:
        return levelled, False, start, None
    cut = head.start(2) + _TAG
    owner = _OWNER.match(line, start, cut + 2)
    if owner is not None:
        return levelled, True, owner.end(), int(owner[1])
    if line[cut : cut + 2] == b": ":
        return levelled, True, cut + 2, None
    return levelled, True, line.index(b": ", start) + 2 if b": " in line[start:] else len(line), None
