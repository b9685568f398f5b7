"""Parses one line of ssh's log: its kind, the process that wrote it, and its message.

Sources: log.c (do_log, sshlogv), ssh.c (resolve_host), sshconnect.c, sshconnect2.c, kex.c, packet.c
(sshpkt_vfatal), clientloop.c, channels.c, mux.c of the tags V_8_0_P1 to V_10_5_P1.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TypeAlias

__all__ = ["MESSAGE", "Line", "LogStyle", "read"]

MESSAGE = 1023
"""The most bytes of one log message with its CR LF (log.c: MSGBUFSIZ), and so of host text after it begins."""

_TAG = 127
"""The most bytes of a tag; ssh cuts longer ones (log.c: sshlogv)."""


class LogStyle(StrEnum):
    """The log options that ssh was started with."""

    DEBUG1 = "debug1"
    """`LogLevel=DEBUG1`, for any version. Lines have no tag."""
    LOGVERBOSE = "logverbose"
    """`LogLevel=ERROR` and LogVerbose patterns, from 8.5 on. Every line that matches a pattern has a tag."""


Line: TypeAlias = tuple[str, re.Match[bytes] | None, int, int | None]
"""A parsed line: its kind, its match, the offset of its message after level and tag, and the pid in the tag.

The kind is the name of a group in `_STEPS` or `_NOTES`; `"note"` for any other message without a debug level; else
`""`. Tags have a pid from 8.7 on, unless they are cut (from 10.0 on, if the program's path is long). A plain tuple,
because each host has about 25 lines.
"""

# The head of nearly every line of `LogStyle.LOGVERBOSE`. `_HEAD` matches the head of any line.
_TAGGED = re.compile(rb"(debug[123]: )?[\w+-]+\.c:\w+\(\):\d+ \(pid=(\d+)\): ")
_HEAD = re.compile(rb"(debug[123]: )?([\w.+-]+\.c:\w+\(\):\d+(?=: | \())?")
_OWNER = re.compile(rb" \((?:bin=.*?, )?pid=(\d+)\): ")

# Messages at a debug level. `host_text`: lines that contain text from the host, even line breaks.
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
    | (?P<host_text>Remote:\ |Authentications\ that\ can\ continue:\ |client_(?:input|request)_|
                    kex_(?:input_)?ext_info|Server\ GSSAPI\ Error:|
                    Sending\ env|channel\ \d+:\ setting\ env\ )
    """,
    re.VERBOSE | re.DOTALL,
)

# Messages to the user, without a level. `farewell`: lines that contain text from the host; ssh exits after them.
_NOTES = re.compile(
    rb"""
      (?P<authenticated>Authenticated\ to\ )
    | (?P<farewell>Received\ disconnect\ from\ |Unable\ to\ negotiate\ with\ )
    | (?P<refused>channel\ \d+:\ open\ failed:\ )
    | (?P<mux_refused>(?:mux_client_\w+:\ )?session\ request\ failed:\ |Master\ refused\ session\ request:\ |
                      (?:mux\w+:\ )?master\ (?:hello\ exchange|alive\ request)\ failed|Control\ socket\ connect\()
    | (?P<mux_lost>(?:mux_client_\w+:\ )?read\ from\ master\ failed)
    | (?P<noise>Transferred:\ |Bytes\ per\ second:\ |\*\*\ |@|Warning:\ |no\ such\ identity:\ |
                Disconnected\ from\ |ControlSocket\ |Authenticated\ using\ |
                \S+:\ terminating,\ \d+\ bad\ config|.*\ line\ \d+:\ (?:Unsupported|Deprecated)\ option|$)
    | (?P<cause>No\ \S+\ host\ key\ is\ known\ for\ |
                (?:\S+\ host|Host)\ key\ for\ \S+\ (?:has\ changed|was\ revoked)\ and\ |
                Protocol\ major\ versions\ differ|Connection\ timed\ out\ during\ banner|
                (?:kex_exchange_identification:\ )?banner\ line\ |.*\ line\ \d+:?\ )
    """,
    re.VERBOSE | re.DOTALL,
)


def read(line: bytes, style: LogStyle) -> Line:
    """Parse one line of the log, given without its CR LF."""
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
    """Parse a line without a tag, or with a tag that `_TAGGED` does not match."""
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
    """Return whether `line` has a level, whether it has a tag, the offset of the message, and the pid."""
    head = _HEAD.match(line)
    assert head is not None, "every part of the pattern is optional"
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
