"""Logs of ssh that tests write themselves, and the verdict on a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sshfan_async.sshlog.lines import LogStyle
from sshfan_async.sshlog.log import SshLog

if TYPE_CHECKING:
    from sshfan_async.sshlog.verdict import Verdict

DEBUG1, LOGVERBOSE = LogStyle.DEBUG1, LogStyle.LOGVERBOSE


def crlf(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


def end(log: bytes, returncode: int, stderr: bytes = b"", *, style: LogStyle = DEBUG1, **options: Any) -> Verdict:
    state = SshLog(style, **options)
    state.feed(log, 1.0)
    return state.end(returncode, stderr)


DIALLED = crlf("debug1: Connecting to h [192.0.2.1] port 22.", "debug1: Connection established.")
MET = DIALLED + crlf("debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2")
KEYED = MET + crlf("debug1: SSH2_MSG_NEWKEYS sent", "debug1: SSH2_MSG_NEWKEYS received")
CHAIN = (
    "debug1: SSH2_MSG_NEWKEYS received",
    'Authenticated to h ([192.0.2.1]:22) using "publickey".',
    "debug1: Sending command: true",
)
AUTHENTICATED = KEYED + crlf("debug1: Authentications that can continue: publickey", CHAIN[1])
SENT = AUTHENTICATED + crlf("debug1: Sending command: true")
EXIT_STATUS = "debug1: client_input_channel_req: channel 0 rtype exit-status reply 0"
EXIT_SIGNAL = "debug1: client_input_channel_req: channel 0 rtype exit-signal reply 0"


TAGS = {
    "8.5": "{0}: ",
    "8.7": "{0} (pid=77): ",
    "10.0": "{0} (bin=/usr/bin/ssh, pid=77): ",
    "10.0, a path with separators": "{0} (bin=/a: b, c/ssh, pid=77): ",
}


def tagged(tag: str) -> bytes:
    def one(level: str, place: str, text: str) -> str:
        return level + tag.format(place) + text

    return crlf(
        one("debug1: ", "sshconnect.c:ssh_connect_direct():1", "Connecting to h [192.0.2.1] port 22."),
        one("debug1: ", "sshconnect.c:ssh_connect_direct():2", "Connection established."),
        one("debug1: ", "kex.c:kex_input_newkeys():3", "SSH2_MSG_NEWKEYS received"),
        one("debug1: ", "sshconnect2.c:input_userauth_failure():4", "Authentications that can continue: publickey"),
        one("", "sshconnect2.c:ssh_userauth2():5", 'Authenticated to h ([192.0.2.1]:22) using "publickey".'),
        one("debug1: ", "clientloop.c:client_session2_setup():6", "Sending command: true"),
        one("debug2: ", "clientloop.c:client_status_confirm():7", "exec request accepted on channel 0"),
        one("debug1: ", "clientloop.c:client_input_channel_req():8", EXIT_STATUS.removeprefix("debug1: ")),
        one("debug1: ", "clientloop.c:client_loop():9", "Exit status 5"),
    )
