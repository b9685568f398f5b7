"""`sshlog` against labelled logs of real ssh clients (beside this file), forged logs and arbitrary bytes.

A corpus row holds what one run of `ssh -E LOG` of that version wrote and returned, and what truly happened, known
from its cause: a marker that the command touched, the server's own log, the signal that was sent.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshfan_async.outcome import Phase, Phases, Status
from sshfan_async.sshlog.diagnostics import strip_diagnostics
from sshfan_async.sshlog.lines import LogStyle
from sshfan_async.sshlog.log import SshLog
from sshfan_async.sshlog.stamps import Stamps, phases
from sshfan_async.sshlog.verdict import Verdict

DEBUG1, LOGVERBOSE = LogStyle.DEBUG1, LogStyle.LOGVERBOSE


def rows() -> list[Any]:
    found = []
    for path in sorted((Path(__file__).parent / "corpus").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line) | {"version": path.stem}
            row["log"], row["stderr"] = (row[key].encode("utf-8", "surrogateescape") for key in ("log", "stderr"))
            found.append(pytest.param(row, id=f"{row['version']}-{row['style']}-{row['case']}"))
    return found


ROWS = rows()
every_row = pytest.mark.parametrize("row", ROWS)


def expected(row: dict[str, Any]) -> tuple[Status, bool, int | None]:
    """Give the status, `sent` and exit code that the truth asks for, or the weaker claim where logs are alike."""
    sent = row["sent"] is not False
    case, style = row["case"], row["style"]
    if case == "control-reuse-killed" or (case == "control-reuse-exit-255" and style == "debug1"):
        return Status.LOST, True, None
    if case == "silent-before-banner" and row["version"] == "8.0p1":
        return Status.UNREACHABLE, False, None
    status = {
        "exit": Status.OK if row["exit_code"] == 0 else Status.FAILED,
        "signal": Status.SIGNALLED,
        "lost": Status.LOST if sent else Status.DROPPED,
        "local-signal": Status.LOST if sent else Status.LOCAL,
        "never-connected": Status.UNRESOLVED if row["case"] == "dns-fail" else Status.UNREACHABLE,
        "handshake": Status.DROPPED,
        "session": Status.DROPPED,
        "host-key": Status.HOST_KEY,
        "auth": Status.AUTH,
        "config": Status.LOCAL,
    }[row["ending"]]
    return status, sent, row["exit_code"]


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


# --- the corpus ------------------------------------------------------------------------------------------------


@every_row
def test_corpus_row_ends_as_it_truly_did(row: dict[str, Any]) -> None:
    ending = end(row["log"], row["returncode"], row["stderr"], style=LogStyle(row["style"]), real=True)
    assert (ending.status, ending.sent, ending.exit_code) == expected(row)
    assert ending.status is Status.OK or 0 < len(ending.reason) <= 300
    assert ending.reason.isprintable()


@every_row
def test_corpus_row_byte_by_byte_ends_the_same(row: dict[str, Any]) -> None:
    whole, bytewise = SshLog(LogStyle(row["style"])), SshLog(LogStyle(row["style"]))
    whole.feed(row["log"], 1.0)
    for at in range(len(row["log"])):
        bytewise.feed(row["log"][at : at + 1], 1.0)
    assert bytewise.stamps == whole.stamps
    assert bytewise.peer == whole.peer
    assert bytewise.end(row["returncode"], row["stderr"]) == whole.end(row["returncode"], row["stderr"])


@every_row
def test_corpus_row_phases_add_up(row: dict[str, Any]) -> None:
    state, now = SshLog(LogStyle(row["style"]), real=True), 100.0
    for line in row["log"].splitlines(keepends=True):
        now += 0.125
        state.feed(line, now)
    ending, split = state.end(row["returncode"], row["stderr"]), phases(state.stamps, 100.0, now + 1.0, 0.5)
    assert split.elapsed == pytest.approx(now + 1.0 - 100.0, abs=1e-6)
    assert split.queued == 0.5
    assert getattr(split, ending.phase.value) is not None
    if row["ending"] == "exit" and not row["case"].startswith("control-"):
        assert [phase for phase, _ in split][1:] == list(Phase)[1:]


@pytest.mark.parametrize("case", ["max-startups", "max-startups-stub", "not-allowed-stub", "lost-during-auth",
                                  "closed-before-banner", "reset-before-banner", "closed-after-banner",
                                  "stall-after-banner", "lost-before-send"])  # fmt: skip
def test_a_connection_dropped_in_passing_is_transient(case: str) -> None:
    for row in (param.values[0] for param in ROWS):
        if row["case"] == case:
            ending = end(row["log"], row["returncode"], row["stderr"], style=LogStyle(row["style"]))
            assert ending.transient, (row["version"], row["style"])


@pytest.mark.parametrize("case", ["kex-mismatch", "garbage-banner", "garbage-banner-http", "garbage-banner-ssh1",
                                  "garbage-banner-longline", "session-refused", "server-disconnect-spoof",
                                  "refused", "host-key-changed", "auth-denied", "proxyjump-refused", "ok",
                                  "connection-lost"])  # fmt: skip
def test_an_ending_that_stays_is_not_transient(case: str) -> None:
    for row in (param.values[0] for param in ROWS):
        if row["case"] == case:
            ending = end(row["log"], row["returncode"], row["stderr"], style=LogStyle(row["style"]))
            assert not ending.transient, (row["version"], row["style"])


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("dns-fail", "Could not resolve hostname name.invalid: Name or service not known"),
        ("refused", "connect to host 127.0.0.1 port 47012: Connection refused"),
        ("auth-denied", "corpus@127.0.0.1: Permission denied (publickey)."),
        (
            "auth-too-many-failures",
            "Received disconnect from 127.0.0.1 port 47011:2: Too many authentication failures",
        ),
        ("bad-option", "command-line: line 0: Bad configuration option: nosuchoption"),
        ("config-remote-command", "Cannot execute command-line and remote command."),
        ("proxyjump-refused", "jump host closed: connect to host 127.0.0.1 port 47012: Connection refused"),
        ("proxyjump-auth-denied", "jump host jumpbadkey: corpus@127.0.0.1: Permission denied (publickey)."),
        ("proxycommand-fails", "ProxyCommand /bin/sh: proxy command gave up"),
        (
            "local-sigterm-during-run",
            "ssh was killed on this machine by signal 15 (SIGTERM) after the command was sent",
        ),
        ("exit-3", "the command exited with 3"),
    ],
)
def test_reasons_are_in_the_words_of_ssh(case: str, reason: str) -> None:
    for row in (param.values[0] for param in ROWS):
        if row["case"] == case:
            assert end(row["log"], row["returncode"], row["stderr"], style=LogStyle(row["style"])).reason == reason


def test_a_dropped_connection_quotes_what_the_host_said() -> None:
    log = DIALLED + crlf(
        "debug1: kex_exchange_identification: banner line 0: Exceeded MaxStartups",
        "Connection closed by 192.0.2.1 port 22",
    )
    assert end(log, 255).reason == "Connection closed by 192.0.2.1 port 22 (the host said: Exceeded MaxStartups)"


# --- forged logs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_command_cannot_forge_its_exit_status(line_end: str) -> None:
    forged = line_end.join(["true", EXIT_STATUS, "debug1: Exit status 0"])
    log = AUTHENTICATED + crlf(f"debug1: Sending command: {forged}")
    assert end(log + crlf(EXIT_STATUS, "debug1: Exit status 7"), 7).exit_code == 7
    assert end(log + crlf("client_loop: send disconnect: Broken pipe"), 255).status is Status.LOST
    assert end(log, -9).status is Status.LOST


def test_a_command_cannot_forge_its_own_signal_into_a_lost_connection() -> None:
    log = AUTHENTICATED + crlf(f"debug1: Sending command: true\r\n{EXIT_SIGNAL}", "debug1: Exit status -1")
    assert end(log, 255, b"Connection to h closed by remote host.\r\n").status is Status.LOST


def test_a_command_that_speaks_of_signals_still_ends_ok() -> None:
    log = AUTHENTICATED + crlf("debug1: Sending command: true\r\nKilled by signal 15.")
    assert end(log + crlf(EXIT_STATUS, "debug1: Exit status 0"), 0).status is Status.OK


def test_zero_after_a_local_signal_is_not_ok() -> None:
    ending = end(SENT + crlf("Killed by signal 15."), 0)
    assert (ending.status, ending.sent) == (Status.LOST, True)


def test_zero_without_the_end_of_a_session_is_not_ok() -> None:
    assert end(SENT, 0).status is Status.LOST
    assert end(KEYED, 0).status is Status.LOST


def test_another_return_code_than_the_exit_status_is_lost() -> None:
    assert end(SENT + crlf(EXIT_STATUS, "debug1: Exit status 3"), 4).status is Status.LOST
    assert end(SENT + crlf(EXIT_STATUS, "debug1: Exit status 0"), 255).status is Status.LOST


def test_text_of_a_disconnect_before_the_keys_proves_nothing() -> None:
    text = "\r\n".join(["bye", *CHAIN, EXIT_STATUS, "debug1: Exit status 0"])
    log = MET + crlf(f"Received disconnect from 192.0.2.1 port 22:2: {text}", "Disconnected from 192.0.2.1 port 22")
    ending = end(log, 255)
    assert (ending.status, ending.sent) == (Status.DROPPED, False)
    assert ending.reason == "Received disconnect from 192.0.2.1 port 22:2: bye"


def test_text_of_an_offer_cannot_deny_authentication() -> None:
    offer = "Unable to negotiate with 192.0.2.1 port 22: no matching cipher found. Their offer: x"
    log = MET + crlf(f"{offer}\r\ndebug1: SSH2_MSG_NEWKEYS received\r\nops@h: Permission denied (publickey).")
    assert end(log, 255).status is Status.DROPPED


def test_host_text_before_the_keys_cannot_become_auth_or_host_key() -> None:
    fatal = ("ops@h: Permission denied (publickey).", "Host key verification failed.")
    log = MET + crlf("debug1: Remote: x", CHAIN[0], *fatal)
    assert end(log + crlf("Connection closed by 192.0.2.1 port 22"), 255).status is Status.DROPPED
    bye = "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures"
    assert end(log + crlf(bye, "Disconnected from 192.0.2.1 port 22"), 255).status is Status.DROPPED


def test_host_text_cannot_hide_that_the_command_was_sent() -> None:
    fake = "debug1: Remote: x\r\nReceived disconnect from 192.0.2.1 port 22:2: bye"
    for at in (MET, KEYED, AUTHENTICATED):
        log = at + crlf(fake) + crlf(*CHAIN, "client_loop: send disconnect: Broken pipe")
        ending = end(log, 255)
        assert (ending.status, ending.sent) == (Status.LOST, True)
    denied = SENT + crlf("Received disconnect from 192.0.2.1 port 22:2: x\r\nops@h: Permission denied (publickey).")
    assert end(denied, 255).sent


def test_a_forged_chain_that_fits_both_is_called_sent() -> None:
    log = MET + crlf("debug1: Remote: x\r\n" + "\r\n".join(CHAIN), "Connection closed by 192.0.2.1 port 22")
    ending = end(log, 255)
    assert (ending.status, ending.sent) == (Status.LOST, True)


def test_a_chain_out_of_order_in_host_text_is_not_believed() -> None:
    log = MET + crlf("debug1: Remote: x\r\n" + "\r\n".join(CHAIN[1:]), "Connection closed by 192.0.2.1 port 22")
    assert not end(log, 255).sent


def test_host_text_reaches_no_further_than_a_message() -> None:
    log = MET + crlf("debug1: Remote: x", *["debug1: padding " + "." * 200] * 5, *CHAIN[1:])
    assert end(log, -9).sent


forgeries = st.lists(
    st.sampled_from(
        [
            *CHAIN,
            EXIT_STATUS,
            EXIT_SIGNAL,
            "debug1: Exit status 0",
            "debug1: Connecting to h [192.0.2.1] port 22.",
            "debug1: Executing proxy command: exec nc h 22",
            "debug1: auto-mux: Trying existing master",
            'debug1: Control socket "/s" does not exist',
            "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures",
            "Unable to negotiate with 192.0.2.1 port 22: no matching cipher found. Their offer: x",
            "ops@h: Permission denied (publickey).",
            "Host key verification failed.",
            "ssh: Could not resolve hostname h: Name or service not known",
            "ssh: connect to host h port 22: Connection refused",
            "Killed by signal 15.",
        ]
    ),
    max_size=8,
).map(lambda lines: "\r\n".join(["debug1: Remote: x", *lines]).encode()[:1021] + b"\r\n")

NOT_MUX = [
    row
    for row in (param.values[0] for param in ROWS)
    if row["style"] == "debug1" and row["sent"] and "control" not in row["case"]
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(NOT_MUX), st.lists(st.tuples(st.floats(0, 1), forgeries), min_size=1, max_size=3))
def test_no_host_text_turns_sent_into_not_sent_or_a_failure_into_ok(
    row: dict[str, Any], messages: list[tuple[float, bytes]]
) -> None:
    lines = row["log"].splitlines(keepends=True)
    dialled = next(at for at, line in enumerate(lines) if b"Remote protocol version" in line) + 1
    last = len(lines) - 1  # ssh always has the last word
    for place, message in messages:
        lines.insert(dialled + int(place * (last - dialled)), message)
    ending = end(b"".join(lines), row["returncode"], row["stderr"])
    assert ending.sent
    if expected(row)[0] is not Status.OK:
        assert ending.status is not Status.OK
    if expected(row)[0] is Status.LOST:
        assert ending.status in {Status.LOST, Status.SIGNALLED}


# --- tags ------------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_tags_of_every_version_are_understood(tag: str) -> None:
    state = SshLog(LOGVERBOSE, 77)
    state.feed(tagged(tag), 1.0)
    assert state.end(5).exit_code == 5
    assert state.stamps.accepted == 1.0


def test_a_cut_tag_is_understood() -> None:
    path = "/" + "d: " * 60
    log = b""
    for line in tagged("{0} (bin=" + path + ", pid=77): ").splitlines(keepends=True):
        start = line.find(b": ") + 2 if line.startswith(b"debug") else 0
        tag = line[start : line.index(b", pid=77)") + len(b", pid=77)")]
        log += line[:start] + tag[:127] + line[start + len(tag) :]
    assert end(log, 5, style=LOGVERBOSE, pid=77).exit_code == 5


def test_the_pid_of_a_wrapped_ssh_is_learnt() -> None:
    assert end(tagged(TAGS["8.7"]), 5, style=LOGVERBOSE, pid=76).exit_code == 5


def test_host_text_with_another_pid_is_not_believed() -> None:
    start = b"".join(tagged(TAGS["8.7"]).splitlines(keepends=True)[:3])
    rest = tagged("{0} (pid=1): ").splitlines(keepends=True)[4:]
    told = b"debug1: sshconnect2.c:input_userauth_failure():4 (pid=77): Authentications that can continue: x\r\n"
    gone = b"packet.c:sshpkt_vfatal():9 (pid=77): Connection closed by 192.0.2.1 port 22\r\n"
    ending = end(start + told + b"".join(rest) + gone, 255, style=LOGVERBOSE, pid=77)
    assert (ending.status, ending.sent) == (Status.DROPPED, False)


def test_untagged_debug_lines_prove_nothing_where_lines_are_tagged() -> None:
    ending = end(SENT + crlf(EXIT_STATUS, "debug1: Exit status 0", "Connection closed by x"), 255, style=LOGVERBOSE)
    assert ending.status is not Status.OK
    assert not SshLog(LOGVERBOSE).stamps.sent


# --- exit codes and signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "returncode", "code"), [(256, 0, 256), (-1073741510, 58, 3221225786), (0, 0, 0)])
def test_an_exit_status_wider_than_a_byte_is_kept(number: int, returncode: int, code: int) -> None:
    ending = end(SENT + crlf(EXIT_STATUS, f"debug1: Exit status {number}"), returncode)
    assert ending.exit_code == code
    assert (ending.status is Status.OK) == (code == 0)


def test_an_exit_status_of_minus_one_is_no_lost_connection() -> None:
    ending = end(SENT + crlf(EXIT_STATUS, "debug1: Exit status -1"), 255)
    assert (ending.status, ending.exit_code) == (Status.FAILED, 0xFFFFFFFF)


def test_a_lost_connection_after_the_exit_status_came_is_lost() -> None:
    ending = end(SENT + crlf(EXIT_STATUS, "Timeout, server h not responding."), 255)
    assert (ending.status, ending.phase) == (Status.LOST, Phase.CLOSE)


def test_a_refused_command_counts_as_sent() -> None:
    ending = end(SENT + crlf("exec request failed on channel 0"), 255)
    assert (ending.status, ending.sent) == (Status.LOST, True)
    assert ending.reason == "the host refused the command: exec request failed on channel 0"


def test_an_ssh_killed_before_the_command_was_sent_is_local() -> None:
    assert end(KEYED, -15).status is Status.LOCAL
    assert not end(KEYED, -15).sent


# --- no connection ---------------------------------------------------------------------------------------------

JUMP = crlf("debug1: Executing proxy command: exec ssh -l u -p 22 -F f -W '[db]:22' bastion",
            "kex_exchange_identification: Connection closed by remote host")  # fmt: skip


@pytest.mark.parametrize(
    ("stderr", "status"),
    [
        (b"kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 192.0.2.9 port 22\r\n",
         Status.DROPPED),
        (b"Banner\nConnection closed by 192.0.2.9 port 22\r\n", Status.DROPPED),
        (b"Connection to 192.0.2.9 port 22 timed out\r\n", Status.DROPPED),
        (b"", Status.DROPPED),
        (b"ssh: connect to host bastion port 22: Connection refused\r\n"
         b"kex_exchange_identification: Connection closed by remote host\r\n", Status.UNREACHABLE),
        (b"Host key verification failed.\r\n", Status.UNREACHABLE),
        (b"something else\n", Status.UNREACHABLE),
    ],
)  # fmt: skip
def test_a_jump_host_that_dropped_us_can_be_tried_again(stderr: bytes, status: Status) -> None:
    ending = end(JUMP, 255, stderr)
    assert (ending.status, ending.sent, ending.transient) == (status, False, status is Status.DROPPED)
    assert "jump host bastion" in ending.reason


@pytest.mark.parametrize(
    ("command", "peer"),
    [
        ("exec /usr/bin/ssh -W '[db]:22' bastion", "jump host bastion"),
        ("exec ssh -q -Wdb:22 ops@bastion", "jump host ops@bastion"),
        ("exec nc --proxy-auth user:secret db 22", "ProxyCommand nc"),
    ],
)
def test_a_proxy_is_named_without_its_arguments(command: str, peer: str) -> None:
    state = SshLog(DEBUG1)
    state.feed(crlf(f"debug1: Executing proxy command: {command}"), 1.0)
    assert state.peer == peer


def test_the_peer_of_a_direct_connection_is_its_address() -> None:
    state = SshLog(DEBUG1)
    state.feed(crlf("debug1: Connecting to h [2001:db8::1] port 22."), 1.0)
    assert state.peer == "2001:db8::1 port 22"


@pytest.mark.parametrize("error", ["Too many open files", "Resource temporarily unavailable"])
def test_too_few_resources_here_are_local_and_transient(error: str) -> None:
    ending = end(
        crlf("debug1: Connecting to h [192.0.2.1] port 22.", f"ssh: connect to host h port 22: {error}"), 255
    )
    assert (ending.status, ending.transient) == (Status.LOCAL, True)


@every_row
def test_corpus_row_feed_tells_of_each_new_peer_and_of_the_sent_command(row: dict[str, Any]) -> None:
    state = SshLog(LogStyle(row["style"]), real=True)
    known: tuple[str | None, float | None] = (None, None)
    for line in row["log"].splitlines(keepends=True):
        news = state.feed(line, 1.0)
        seen = state.peer, state.sent_at
        assert news or seen == known
        known = seen


def test_what_is_put_off_keeps_the_time_at_which_it_came() -> None:
    state = SshLog(DEBUG1, real=True)
    assert state.feed(crlf("debug1: Connecting to h [192.0.2.1] port 22."), 1.0)
    assert not state.feed(crlf("debug1: Connection established."), 2.0)
    assert not state.feed(crlf("debug1: SSH2_MSG_NEWKEYS received"), 3.0)
    assert (state.stamps.connected, state.stamps.keyed) == (2.0, 3.0)


# --- ControlMaster ---------------------------------------------------------------------------------------------


def test_a_session_over_a_master_is_sent_when_the_master_opened_it() -> None:
    state = SshLog(DEBUG1)
    state.feed(crlf("debug1: auto-mux: Trying existing master at '/s'"), 1.0)
    assert state.sent_at is None
    state.feed(crlf("debug1: mux_client_request_session: master session id: 2"), 2.0)
    assert state.sent_at == 2.0
    assert state.end(3).exit_code == 3
    assert phases(state.stamps, 0.5, 5.0, 0.0) == Phases(queued=0.0, resolve=1.5, run=3.0)


def test_a_request_that_a_master_did_not_answer_counts_as_sent_in_the_end() -> None:
    log = crlf("debug3: mux.c:mux_client_request_session():1 (pid=7): session request sent")
    state = SshLog(LOGVERBOSE)
    state.feed(log, 1.0)
    assert not state.stamps.silent  # the clock of the connection still runs
    assert state.end(-9).sent
    assert phases(state.stamps, 0.0, 8.0, 0.0) == Phases(queued=0.0, run=8.0)
    assert end(log, -9, style=LOGVERBOSE).sent
    refused = crlf(
        "mux.c:mux_client_request_session():2 (pid=7): session request failed: Session open refused by peer"
    )
    assert not end(log + refused, -9, style=LOGVERBOSE).sent


# --- no log ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returncode", "status", "code"), [(0, Status.OK, 0), (3, Status.FAILED, 3), (255, Status.FAILED, 255)]
)
def test_a_program_that_writes_no_log_runs_the_command_itself(returncode: int, status: Status, code: int) -> None:
    ending = SshLog(DEBUG1).end(returncode)
    assert (ending.status, ending.sent, ending.exit_code, ending.phase) == (status, True, code, Phase.RUN)


def test_a_program_that_writes_no_log_and_is_killed_is_local_and_sent() -> None:
    assert (SshLog(DEBUG1).end(-9).status, SshLog(DEBUG1).end(-9).sent) == (Status.LOCAL, True)


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(
    ("returncode", "stderr"),
    [
        (255, b"command-line: line 0: Bad configuration option: x\r\n"),
        (255, b"command-line line 0: Unsupported option \"x\".\r\n"),
        (255, b"ssh: illegal option -- Z\nusage: ssh [-46AaCfGgKkMNnqsTtVvXxYy]\n"),
        (255, b"Bad owner or permissions on /home/u/.ssh/config\r\n"),
        (255, b"hostname contains invalid characters\r\n"),
        (1, b"Couldn't open logfile /dev/full/x: Not a directory\n"),
        (127, b"ssh: error while loading shared libraries: libcrypto.so.3: cannot open shared object file\n"),
    ],
)  # fmt: skip
def test_an_ssh_that_cannot_start_is_local_and_not_sent(returncode: int, stderr: bytes, real: bool) -> None:
    ending = SshLog(DEBUG1, real=real).end(returncode, stderr)
    assert (ending.status, ending.sent) == (Status.LOCAL, False)
    assert ending.reason


def test_openssh_without_a_log_never_ran_a_command() -> None:
    for returncode in (1, 255, -9):
        ending = SshLog(DEBUG1, real=True).end(returncode)
        assert (ending.status, ending.sent) == (Status.LOCAL, False)


# --- stderr ----------------------------------------------------------------------------------------------------

LOST = Verdict(status=Status.LOST, sent=True, phase=Phase.RUN)


@pytest.mark.parametrize(
    "said",
    [
        b"Connection to 192.0.2.1 closed by remote host.\r\n",
        b"Read from remote host 192.0.2.1: Connection reset by peer\r\n",
        b"Shared connection to h closed.\r\n",
        b"client_loop: send disconnect: Broken pipe\r\nConnection to 192.0.2.1 closed by remote host.\r\n",
    ],
)
def test_what_ssh_appended_is_taken_off_a_lost_commands_stderr(said: bytes) -> None:
    assert strip_diagnostics(b"part\n" + said, LOST) == b"part\n"
    assert strip_diagnostics(b"no line end" + said, LOST) == b"no line end"
    assert strip_diagnostics(b"part\n" + said, replace(LOST, status=Status.FAILED)) == b"part\n" + said


def test_a_commands_own_words_stay() -> None:
    for own in (b"Connection to h closed by remote host.\n", b"Connection to h closed.\r\nmore\n", b"", b"\r\n"):
        assert strip_diagnostics(own, LOST) == own


# --- phases ----------------------------------------------------------------------------------------------------


def test_a_phase_without_a_stamp_gives_its_time_to_the_next() -> None:
    split = phases(Stamps(connecting=1.0, keyed=4.0, sent=5.0, remote_end=7.0), 0.0, 8.0, 0.0)
    assert split == Phases(queued=0.0, resolve=1.0, handshake=3.0, auth=1.0, run=2.0, close=1.0)


def test_the_phase_it_ended_in_gets_the_rest() -> None:
    assert phases(Stamps(connecting=1.0), 0.0, 8.0, 2.0) == Phases(queued=2.0, resolve=1.0, connect=7.0)
    assert phases(Stamps(), 0.0, 8.0, 0.0) == Phases(queued=0.0, resolve=8.0)


def test_without_a_log_all_is_run() -> None:
    assert phases(SshLog(DEBUG1).stamps, 0.0, 8.0, 0.0) == Phases(queued=0.0, run=8.0)


@given(
    st.lists(st.none() | st.floats(-1e6, 1e6), min_size=7, max_size=7),
    st.booleans(),
    st.floats(0, 1e6),
    st.floats(0, 1e5),
)
def test_phases_add_up_and_are_never_negative(
    stamps: list[float | None], silent: bool, launched: float, seconds: float
) -> None:
    names = [field.name for field in fields(Stamps)][:7]
    split = phases(Stamps(**dict(zip(names, stamps, strict=True)), silent=silent), launched, launched + seconds, 0.0)
    assert split.elapsed == pytest.approx(launched + seconds - launched, abs=1e-6)
    assert all(seconds >= 0 for _, seconds in split)


@pytest.mark.parametrize(
    ("log", "phase"),
    [
        (b"debug1: x\r\n", Phase.RESOLVE),
        (DIALLED[:46], Phase.CONNECT),
        (DIALLED, Phase.HANDSHAKE),
        (KEYED, Phase.AUTH),
        (AUTHENTICATED, Phase.AUTH),
        (SENT, Phase.RUN),
        (SENT + crlf(EXIT_STATUS), Phase.CLOSE),
    ],
)
def test_the_phase_follows_the_log(log: bytes, phase: Phase) -> None:
    state = SshLog(DEBUG1)
    state.feed(log, 1.0)
    assert state.phase() is phase


# --- any bytes -------------------------------------------------------------------------------------------------

pieces = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([line + b"\r\n" for param in ROWS[::7] for line in param.values[0]["log"].split(b"\r\n")]),
    st.sampled_from([b"\r", b"\n", b"\r\n", b"debug1: ", b": ", b"x" * 5000, *SENT.splitlines(keepends=True)]),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(pieces, max_size=30).map(b"".join),
    st.integers(-64, 255),
    st.binary(max_size=900),
    st.sampled_from(LogStyle),
    st.data(),
)
def test_any_log_ends_in_one_honest_record_however_it_is_cut(
    log: bytes, code: int, stderr: bytes, style: LogStyle, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=8)))
    whole, cut = SshLog(style), SshLog(style)
    whole.feed(log, 1.0)
    for start, stop in zip([0, *cuts], [*cuts, len(log)], strict=True):
        cut.feed(log[start:stop], 1.0)
    ending = whole.end(code, stderr)
    assert cut.end(code, stderr) == ending
    assert cut.stamps == whole.stamps
    assert len(ending.reason) <= 300
    assert ending.reason.isprintable()
    assert ending.sent or ending.status in {
        Status.UNRESOLVED, Status.UNREACHABLE, Status.DROPPED, Status.HOST_KEY, Status.AUTH, Status.LOCAL
    }  # fmt: skip
    if ending.status is Status.OK:
        assert code == 0
    if ending.transient:
        assert not ending.sent


def test_a_log_in_flight_is_small_and_keeps_no_command() -> None:
    state = SshLog(LOGVERBOSE, 77)
    log = tagged(TAGS["10.0"]).replace(b"Sending command: true", b"Sending command: " + b"secret" * 140)
    state.feed(log, 1.0)
    held = [getattr(state, name) for name in SshLog.__slots__]
    assert b"secret" not in b"".join(value for value in held if isinstance(value, bytes))
    assert sys.getsizeof(state) + sum(sys.getsizeof(value) for value in {id(v): v for v in held}.values()) < 1200
    state.feed(b"y" * 100_000, 2.0)
    assert max(len(value) for value in held if isinstance(value, bytes)) <= 4097
