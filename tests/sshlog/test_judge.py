from __future__ import annotations

from typing import Any

import pytest

from sshfan_async.outcome import Phase, Phases, Status
from sshfan_async.sshlog.lines import LogStyle
from sshfan_async.sshlog.log import SshLog
from sshfan_async.sshlog.stamps import phases
from tests.support.corpus import ROWS, every_row, expected
from tests.support.ssh_logs import DEBUG1, EXIT_STATUS, KEYED, LOGVERBOSE, SENT, crlf, end


@every_row
def test_corpus_row_ends_as_it_truly_did(row: dict[str, Any]) -> None:
    ending = end(row["log"], row["returncode"], row["stderr"], style=LogStyle(row["style"]), real=True)
    assert (ending.status, ending.sent, ending.exit_code) == expected(row)
    assert ending.status is Status.OK or 0 < len(ending.reason) <= 300
    assert ending.reason.isprintable()


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


def test_zero_after_a_local_signal_is_not_ok() -> None:
    ending = end(SENT + crlf("Killed by signal 15."), 0)
    assert (ending.status, ending.sent) == (Status.LOST, True)


def test_zero_without_the_end_of_a_session_is_not_ok() -> None:
    assert end(SENT, 0).status is Status.LOST
    assert end(KEYED, 0).status is Status.LOST


def test_another_return_code_than_the_exit_status_is_lost() -> None:
    assert end(SENT + crlf(EXIT_STATUS, "debug1: Exit status 3"), 4).status is Status.LOST
    assert end(SENT + crlf(EXIT_STATUS, "debug1: Exit status 0"), 255).status is Status.LOST


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
