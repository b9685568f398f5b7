"""Labelled logs of real ssh clients, forged logs, and arbitrary bytes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshfan_async.outcome import Phases, Status
from sshfan_async.sshlog.lines import LogStyle
from sshfan_async.sshlog.log import SshLog
from sshfan_async.sshlog.stamps import phases
from tests.support.corpus import ROWS, every_row, expected
from tests.support.ssh_logs import (
    AUTHENTICATED,
    CHAIN,
    DEBUG1,
    EXIT_SIGNAL,
    EXIT_STATUS,
    KEYED,
    LOGVERBOSE,
    MET,
    SENT,
    TAGS,
    crlf,
    end,
    tagged,
)

# the corpus


@every_row
def test_corpus_row_byte_by_byte_ends_the_same(row: dict[str, Any]) -> None:
    whole, bytewise = SshLog(LogStyle(row["style"])), SshLog(LogStyle(row["style"]))
    whole.feed(row["log"], 1.0)
    for at in range(len(row["log"])):
        bytewise.feed(row["log"][at : at + 1], 1.0)
    assert bytewise.stamps == whole.stamps
    assert bytewise.peer == whole.peer
    assert bytewise.end(row["returncode"], row["stderr"]) == whole.end(row["returncode"], row["stderr"])


# forged logs


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


# tags


def test_the_pid_of_a_wrapped_ssh_is_learnt() -> None:
    assert end(tagged(TAGS["8.7"]), 5, style=LOGVERBOSE, pid=76).exit_code == 5


def test_host_text_with_another_pid_is_not_believed() -> None:
    start = b"".join(tagged(TAGS["8.7"]).splitlines(keepends=True)[:3])
    rest = tagged("{0} (pid=1): ").splitlines(keepends=True)[4:]
    told = b"debug1: sshconnect2.c:input_userauth_failure():4 (pid=77): Authentications that can continue: x\r\n"
    gone = b"packet.c:sshpkt_vfatal():9 (pid=77): Connection closed by 192.0.2.1 port 22\r\n"
    ending = end(start + told + b"".join(rest) + gone, 255, style=LOGVERBOSE, pid=77)
    assert (ending.status, ending.sent) == (Status.DROPPED, False)


def test_untagged_debug_lines_prove_nothing_if_lines_are_tagged() -> None:
    ending = end(SENT + crlf(EXIT_STATUS, "debug1: Exit status 0", "Connection closed by x"), 255, style=LOGVERBOSE)
    assert ending.status is not Status.OK
    assert not SshLog(LOGVERBOSE).stamps.sent


# no connection


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


# ControlMaster


def test_a_session_over_a_master_is_sent_when_the_master_opened_it() -> None:
    state = SshLog(DEBUG1)
    state.feed(crlf("debug1: auto-mux: Trying existing master at '/s'"), 1.0)
    assert state.sent_at is None
    state.feed(crlf("debug1: mux_client_request_session: master session id: 2"), 2.0)
    assert state.sent_at == 2.0
    assert state.end(3).exit_code == 3
    assert phases(state.stamps, 0.5, 5.0, 0.0) == Phases(queued=0.0, resolve=1.5, run=3.0)


# any bytes


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
