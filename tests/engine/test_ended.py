from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async.engine.ended import (
    Ended,
    concluded,
    connection_lost,
    failed_here,
    input_unreadable,
    not_run,
    refused_session,
    remote_state,
    spawn_failed,
    stderr_tail,
    stopped,
    with_wrapper_note,
    without_diagnostics,
)
from sshfan_async.outcome import Phase, Phases, Status
from sshfan_async.process.spawn import ExitCodesLost
from sshfan_async.process.watchdog import Reports
from sshfan_async.settings import Clocks, Ssh
from sshfan_async.sshlog.verdict import Verdict
from sshfan_async.stdio.capture import NOTHING, Store
from sshfan_async.stdio.spilled import Spilled
from sshfan_async.targets import Target
from tests.support.full_disk import full_at_100_bytes

if TYPE_CHECKING:
    from sshfan_async.engine.ended import Cause
    from sshfan_async.outcome import Remote

OK = Verdict(status=Status.OK, sent=True, exit_code=0, phase=Phase.CLOSE)
FAILED = Verdict(status=Status.FAILED, sent=True, exit_code=7, phase=Phase.CLOSE, reason="the command exited with 7")
SIGNALLED = Verdict(status=Status.SIGNALLED, sent=True, phase=Phase.RUN, reason="ended by signal KILL")
LOST = Verdict(status=Status.LOST, sent=True, phase=Phase.RUN, reason="the connection was lost")
DROPPED = Verdict(status=Status.DROPPED, sent=False, phase=Phase.HANDSHAKE, reason="closed", transient=True)

SECRET = "sshfan-0123456789abcdef"
CONNECTION_CLOSED = b"Connection to h closed by remote host.\r\n"


def reports(*words: str, asked: bool = True) -> Reports:
    """Return what is known when the launcher, and the watchdog that was `asked` to kill, have reported `words`."""
    told = Reports(SECRET)
    nonce = told.kill_request().decode().split()[-1] if asked else "0123"
    words = tuple(f"{word} {nonce}" if word in ("ended", "left") else word for word in words)
    told.feed("".join(f"{SECRET}:{word}\n" for word in words).encode())
    return told


# the words of each maker


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (
            not_run(None),
            (Status.NOT_RUN, False, Phase.QUEUED, "never started: the run was stopped before this host's turn"),
        ),
        (
            not_run("deadline"),
            (Status.NOT_RUN, False, Phase.QUEUED, "never started: the run's deadline passed before this host's turn"),
        ),
        (
            input_unreadable(OSError(errno.EIO, "Input/output error")),
            (Status.LOCAL, False, Phase.QUEUED, "its standard input cannot be read: Input/output error"),
        ),
        (
            input_unreadable(OSError("no number, and no text of its own")),
            (Status.LOCAL, False, Phase.QUEUED,
             "its standard input cannot be read: no number, and no text of its own"),
        ),
        (
            refused_session("open failed"),
            (Status.DROPPED, False, Phase.QUEUED, "the host opens no session: open failed"),
        ),
        (
            connection_lost("gone", sent=True),
            (Status.LOST, True, Phase.RUN, "the connection was lost after the command was sent: gone"),
        ),
        (
            connection_lost("gone", sent=False),
            (Status.DROPPED, False, Phase.QUEUED, "the connection was lost before the command was sent: gone"),
        ),
    ],
    ids=lambda value: value.reason if isinstance(value, Verdict) else "",
)  # fmt: skip
def test_ending_that_ssh_does_not_know_is_worded(verdict: Verdict, words: tuple[Status, bool, Phase, str]) -> None:
    assert (verdict.status, verdict.sent, verdict.phase, verdict.reason) == words
    assert not verdict.transient


@pytest.mark.parametrize(
    ("cause", "status", "reason"),
    [
        ("connect_timeout", Status.TIMED_OUT, "timed out after 3.0 s in auth"),
        ("timeout", Status.TIMED_OUT, "timed out after 5.0 s in auth"),
        ("deadline", Status.TIMED_OUT, "the run's deadline of 60.0 s passed in auth"),
        ("stop", Status.CANCELLED, "cancelled after 1.2 s in auth"),
    ],
)
@pytest.mark.parametrize("sent", [False, True])
def test_stopped_names_the_clock_its_seconds_and_the_phase(
    cause: Cause, status: Status, reason: str, sent: bool
) -> None:
    clocks = Clocks(connect_timeout=3, timeout=5, deadline=60)
    verdict = stopped(cause, clocks, after=1.23, phase=Phase.AUTH, sent=sent)
    assert (verdict.status, verdict.sent, verdict.phase, verdict.reason) == (status, sent, Phase.AUTH, reason)
    noted = stopped(cause, clocks, after=1.23, phase=Phase.AUTH, sent=sent, note="left running")
    assert noted.reason == f"{reason}; left running"


def test_program_that_is_not_there_is_told_with_what_to_install() -> None:
    verdict = spawn_failed(FileNotFoundError(errno.ENOENT, "No such file or directory"), Ssh(program="no-such-ssh"))
    assert (verdict.status, verdict.sent, verdict.phase) == (Status.LOCAL, False, Phase.QUEUED)
    assert verdict.reason.startswith(
        "cannot start 'no-such-ssh': no such program: install the OpenSSH client (Debian: openssh-client)"
    )
    assert not verdict.transient


@pytest.mark.parametrize(
    ("number", "transient"),
    [
        (errno.EAGAIN, True),
        (errno.EMFILE, True),
        (errno.ENFILE, True),
        (errno.ENOMEM, True),
        (errno.EACCES, False),
        (errno.ENOEXEC, False),
    ],
    ids=lambda value: errno.errorcode[value] if value > 1 else "",
)
def test_program_that_cannot_be_started_is_transient_for_a_temporary_shortage(number: int, transient: bool) -> None:
    verdict = spawn_failed(OSError(number, "in the system's words"), Ssh(program="/bin/sh"))
    assert verdict.reason == "cannot start '/bin/sh': in the system's words"
    assert verdict.status is Status.LOCAL
    assert verdict.transient is transient


def test_lost_exit_codes_are_told_in_their_own_words() -> None:
    verdict = spawn_failed(ExitCodesLost("SIGCHLD is ignored"), Ssh())
    assert (verdict.status, verdict.reason, verdict.transient) == (Status.LOCAL, "SIGCHLD is ignored", False)


def test_what_failed_here_comes_before_the_reason_and_changes_the_status_alone() -> None:
    verdict = failed_here(FAILED, "it failed")
    assert verdict.reason == "it failed; the command exited with 7"
    assert (verdict.status, verdict.sent, verdict.exit_code, verdict.phase) == (Status.LOCAL, True, 7, Phase.CLOSE)
    assert failed_here(OK, "it failed").reason == "it failed"


@pytest.mark.parametrize("verdict", [OK, FAILED, SIGNALLED])
def test_wrapper_that_never_began_is_noted_if_the_command_ended(verdict: Verdict) -> None:
    noted = with_wrapper_note(verdict, reports())
    assert noted.status is verdict.status
    before, found, after = noted.reason.partition("the clean-up wrapper did not run there")
    assert found
    assert "on_stop='leave'" in after
    assert before == (f"{verdict.reason}; " if verdict.reason else "")


@pytest.mark.parametrize("status", [Status.TIMED_OUT, Status.CANCELLED])
def test_wrapper_that_never_began_is_noted_if_the_command_was_stopped_after_the_host_accepted_it(
    status: Status,
) -> None:
    sent = Verdict(status=status, sent=True, phase=Phase.RUN, reason="stopped")
    assert with_wrapper_note(sent, reports()).reason.startswith("stopped; the clean-up wrapper did not run there")
    assert with_wrapper_note(sent, reports(), accepted=False) is sent
    unsent = sent._replace(sent=False)
    assert with_wrapper_note(unsent, reports()) is unsent


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (FAILED, None),
        (FAILED, reports("watched")),
        (FAILED, reports("unwatched")),
        (LOST, reports()),
        (DROPPED, reports()),
    ],
    ids=["no wrapper", "watched", "unwatched", "lost", "dropped"],
)
def test_wrapper_that_began_or_may_have_begun_is_not_noted(verdict: Verdict, told: Reports | None) -> None:
    assert with_wrapper_note(verdict, told) is verdict


# what is known of the remote command


REMOTE: dict[str, tuple[Verdict, dict[str, Any], Remote]] = {
    "its exit status came": (OK, {"stopped": False}, "ended"),
    "its exit status came after we stopped it": (FAILED, {"stopped": True}, "ended"),
    "its signal came": (SIGNALLED, {"stopped": False}, "ended"),
    "its exit status came before the connection was lost": (LOST, {"stopped": True, "exited": True}, "ended"),
    "never sent": (DROPPED, {"stopped": True, "left": True}, "ended"),
    "lost": (LOST, {"stopped": False}, "unknown"),
    "lost, with on_stop='leave'": (LOST, {"stopped": False, "left": True}, "unknown"),
    "lost, although the watchdog ended it": (LOST, {"stopped": False, "reports": reports("ended")}, "unknown"),
    "stopped, and a watchdog ended it that we never asked": (
        LOST,
        {"stopped": True, "reports": reports("watched", "ended", asked=False)},
        "unknown",
    ),
    "stopped, with on_stop='leave'": (LOST, {"stopped": True, "left": True}, "left"),
    "stopped by a signal": (LOST, {"stopped": True, "left": False}, "unknown"),
    "stopped, and the launcher told nothing": (LOST, {"stopped": True, "reports": reports()}, "unknown"),
    "stopped, without a watchdog there": (LOST, {"stopped": True, "reports": reports("unwatched")}, "left"),
    "stopped, and the watchdog told nothing": (LOST, {"stopped": True, "reports": reports("watched")}, "unknown"),
    "stopped, and the watchdog ended it": (LOST, {"stopped": True, "reports": reports("watched", "ended")}, "ended"),
    "stopped, and the watchdog could not": (LOST, {"stopped": True, "reports": reports("watched", "left")}, "left"),
}


@pytest.mark.parametrize("case", REMOTE)
def test_remote_state(case: str) -> None:
    verdict, options, remote = REMOTE[case]
    assert remote_state(verdict, **{"reports": None, "left": False, **options}) == remote


# concluded


def conclude(verdict: Verdict, **options: Any) -> Ended:
    given: dict[str, Any] = {
        "phases": Phases(queued=1.0, run=2.0),
        "started_at": 5.0,
        "cause": None,
        "remote": "ended",
        "stdout": NOTHING,
        "stderr": NOTHING,
        "input_failure": None,
    }
    return concluded(verdict, **{**given, **options})


def test_outcome_has_all_that_was_concluded() -> None:
    store = Store(1000)
    stdout, stderr = store.capture(3), store.capture(None)
    stdout.write(b"output")
    stderr.write(b"error")
    ended = conclude(SIGNALLED, signal="KILL", remote="unknown", peer="192.0.2.1", stdout=stdout, stderr=stderr)
    outcome = ended.outcome(Target("web1"), "the caller's name", 2)
    assert (outcome.target, outcome.host, outcome.attempts) == (Target("web1"), "the caller's name", 2)
    assert (outcome.status, outcome.sent, outcome.exit_code) == (Status.SIGNALLED, True, None)
    assert (outcome.signal, outcome.phase, outcome.reason) == ("KILL", Phase.RUN, SIGNALLED.reason)
    assert (outcome.phases, outcome.started_at) == (Phases(queued=1.0, run=2.0), 5.0)
    assert (outcome.clock, outcome.remote) == (None, "unknown")
    assert (outcome.stdout, outcome.stdout_dropped) == (b"out", 3)
    assert (outcome.stderr, outcome.stderr_dropped) == (b"error", 0)
    assert ended.peer == "192.0.2.1"
    store.close()


@pytest.mark.parametrize("cause", ["connect_timeout", "timeout", "deadline"])
def test_clock_that_ended_it_is_named(cause: Cause) -> None:
    assert conclude(LOST, cause=cause).clock == cause


def test_request_to_stop_is_no_clock() -> None:
    assert conclude(LOST, cause="stop").clock is None


def test_signal_is_named_only_if_the_command_died_of_it() -> None:
    assert conclude(SIGNALLED, signal="TERM").signal == "TERM"
    assert conclude(LOST, signal="TERM").signal is None


@pytest.mark.parametrize("verdict", [OK, FAILED, SIGNALLED, LOST])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@full_at_100_bytes()
def test_output_that_could_not_be_kept_makes_it_local_and_keeps_the_reason(verdict: Verdict, stream: str) -> None:
    store = Store(0)
    capture = store.capture(None)
    capture.write(bytes(60))
    capture.write(bytes(60))
    ended = conclude(verdict, **{stream: capture})
    assert ended.verdict.status is Status.LOCAL
    assert ended.verdict.reason == "; ".join(
        ["its output cannot be kept: File too large", *([verdict.reason] if verdict.reason else [])]
    )
    assert (ended.verdict.sent, ended.verdict.exit_code) == (verdict.sent, verdict.exit_code)
    assert getattr(ended, f"{stream}_dropped") == 60
    store.close()


def test_input_that_could_not_be_read_makes_it_local_and_keeps_the_reason() -> None:
    ended = conclude(FAILED, input_failure=OSError(errno.EIO, "Input/output error"))
    assert ended.verdict.status is Status.LOCAL
    assert ended.verdict.reason == (
        "its standard input cannot be read to its end: Input/output error; the command exited with 7"
    )


@full_at_100_bytes()
def test_output_and_input_that_failed_are_both_told() -> None:
    store = Store(0)
    capture = store.capture(None)
    for _ in range(2):
        capture.write(bytes(60))
    ended = conclude(SIGNALLED, stdout=capture, input_failure=OSError(errno.EIO, "Input/output error"), signal="KILL")
    assert ended.verdict.status is Status.LOCAL
    assert ended.verdict.reason == (
        "its standard input cannot be read to its end: Input/output error; "
        "its output cannot be kept: File too large; ended by signal KILL"
    )
    assert ended.signal is None
    store.close()


# what ssh wrote on standard error


def spilled(data: bytes) -> Spilled:
    store = Store(0)
    capture = store.capture(None)
    capture.write(data)
    kept = capture.value()
    store.close()
    assert isinstance(kept, Spilled)
    return kept


def read(kept: bytes | Spilled) -> bytes:
    return kept if isinstance(kept, bytes) else kept.read()


@pytest.mark.parametrize("keep", [bytes, spilled], ids=["memory", "file"])
def test_words_of_ssh_are_taken_off_a_lost_commands_stderr_alone(keep: Any) -> None:
    kept = keep(b"x" * 20_000 + b"\n" + CONNECTION_CLOSED)
    assert read(without_diagnostics(kept, LOST)) == b"x" * 20_000 + b"\n"
    assert read(without_diagnostics(kept, FAILED)) == b"x" * 20_000 + b"\n" + CONNECTION_CLOSED


@pytest.mark.parametrize("keep", [bytes, spilled], ids=["memory", "file"])
def test_tail_of_stderr_is_its_last_8_kib(keep: Any) -> None:
    data = b"".join(b"%07d\n" % number for number in range(2000))
    assert stderr_tail(keep(data)) == data[-8192:]
    assert stderr_tail(keep(b"short")) == b"short"
