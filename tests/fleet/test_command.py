from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import Fleet, Phase, Status
from sshfan_async.mux.wire import Message
from tests.support import processes
from tests.support.dropbear import serving
from tests.support.fleets import remote_after_a_stop, remote_pid, spare_is_open, the_sessions
from tests.support.marked import Mark
from tests.support.packets import Writes
from tests.support.signalling_host import signalling_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sshfan_async.testing import SshdFleet


async def test_outcome_has_output_code_and_the_phases_of_a_command(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        outcome = (await fleet.run("echo out; echo err >&2; exit 7"))[stock_fleet.hosts[0]]
    assert (outcome.status, outcome.exit_code, outcome.attempts, outcome.sent) == (Status.FAILED, 7, 1, True)
    assert (outcome.stdout, outcome.stderr) == (b"out\n", b"err\n")
    assert [phase for phase, _ in outcome.phases] == [Phase.QUEUED, Phase.RUN]
    assert outcome.remote == "ended"
    assert outcome.reason == "the command exited with 7"


@pytest.mark.parametrize("on_stop", ["leave", "kill"])
async def test_death_by_signal_is_told_by_name(stock_fleet: SshdFleet, on_stop: Any) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        (outcome,) = await fleet.run("kill -USR1 $$", on_stop=on_stop)
    assert (outcome.status, outcome.signal, outcome.exit_code) == (Status.SIGNALLED, "USR1", None)


@pytest.mark.parametrize("on_stop", ["leave", "kill", "always"])
async def test_standard_input_reaches_each_host_whole(stock_fleet: SshdFleet, on_stop: Any) -> None:
    given = os.urandom(5_000_000)
    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        report = await fleet.run("cat", stdin=given, on_stop=on_stop)
    assert [outcome.stdout == given for outcome in report] == 3 * [True]


async def test_output_beyond_the_limit_is_counted(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        (outcome,) = await fleet.run("head -c 3000000 /dev/zero", max_output=1000)
    assert (len(outcome.stdout), outcome.stdout_dropped) == (1000, 2_999_000)


async def test_output_beyond_the_memory_goes_to_a_file_and_reads_the_same(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        report = await fleet.run("head -c 40000000 /dev/zero")
    assert [len(outcome.stdout) for outcome in report] == 3 * [40_000_000]


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["TERM", "KILL"])
async def test_timeout_ends_the_remote_command(stock_fleet: SshdFleet, trap: str) -> None:
    command = f"{trap}echo $$; while :; do sleep 0.1; done"
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        began = time.monotonic()
        (outcome,) = await fleet.run(command, timeout=0.5, kill_after=0.5)
        assert (outcome.status, outcome.clock) == (Status.TIMED_OUT, "timeout")
        assert outcome.remote == remote_after_a_stop(fleet)
        assert not processes.is_running(remote_pid(outcome))
        assert outcome.phases.run is not None
        assert 0.5 <= outcome.phases.run <= time.monotonic() - began
        assert (await fleet.run("true")).ok


async def test_leave_leaves_the_command_running(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        (outcome,) = await fleet.run("echo $$; exec sleep 60", timeout=0.5, on_stop="leave")
        assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "left")
        assert processes.is_running(remote_pid(outcome))
        os.kill(remote_pid(outcome), signal.SIGKILL)


async def test_refused_signal_is_told_and_the_next_command_is_wrapped(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        (link,) = fleet._pool._hosts.values()
        if link.takes_signals:
            pytest.skip("this sshd signals its sessions")
        link.takes_signals = True  # a wrong guess
        (outcome,) = await fleet.run("echo $$; exec sleep 60", timeout=0.3)
        assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "left")
        assert "the host refused to signal it, and it was left running" in outcome.reason
        os.kill(remote_pid(outcome), signal.SIGKILL)
        (outcome,) = await fleet.run("echo $$; exec sleep 60", timeout=0.3)
        assert outcome.remote == "ended"


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["TERM", "KILL"])
async def test_host_that_signals_gets_the_command_as_it_is_and_ends_it(own_server: SshdFleet, trap: str) -> None:
    async with signalling_host(own_server) as host, Fleet(host, ssh=own_server.ssh) as fleet:
        (outcome,) = await fleet.run("echo $0")
        assert outcome.stdout == b"/bin/sh\n"
        (outcome,) = await fleet.run(f"{trap}echo $$; while :; do sleep 0.1; done", timeout=0.5, kill_after=0.5)
        assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
        assert not processes.is_running(remote_pid(outcome))


async def test_nothing_is_claimed_of_what_a_signal_does_not_reach(own_server: SshdFleet) -> None:
    mark = Mark()
    try:
        async with signalling_host(own_server) as host, Fleet(host, ssh=own_server.ssh) as fleet:
            (outcome,) = await fleet.run(f"timeout 600 {mark.sleep}", timeout=0.5, kill_after=0.3)
            assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
            assert len(mark.commands()) == 1
    finally:
        mark.kill()


@pytest.fixture
def dropbear(own_server: SshdFleet, tmp_path: Path) -> Iterator[str]:
    """A host served by dropbear."""
    with serving(own_server, tmp_path) as host:
        yield host


async def test_dropbear_runs_commands_and_they_can_be_ended(own_server: SshdFleet, dropbear: str) -> None:
    # One session at a time: when a command ends, dropbear 2022.82 to 2024.85 may close a session that has no command
    # yet, https://github.com/mkj/dropbear/pull/326.
    async with Fleet(dropbear, ssh=own_server.ssh, sessions=1) as fleet:
        reports = await asyncio.gather(*(fleet.run("echo here; exit 4") for _ in range(4)))
        assert [(each.stdout, each.exit_code) for report in reports for each in report] == 4 * [(b"here\n", 4)]
        given = os.urandom(1_000_000)
        (outcome,) = await fleet.run("cat", stdin=given, on_stop="leave")
        assert outcome.stdout == given
        (outcome,) = await fleet.run("kill -9 $$", on_stop="leave")
        assert (outcome.status, outcome.signal) == (Status.SIGNALLED, "KILL")
        (outcome,) = await fleet.run("echo $$; exec sleep 60", timeout=0.5)
        assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
        assert not processes.is_running(remote_pid(outcome))


UNANSWERED: dict[str, set[int]] = {
    "exec": {Message.CHANNEL_SUCCESS, Message.CHANNEL_FAILURE},
    "exit and close": {Message.CHANNEL_REQUEST, Message.CHANNEL_CLOSE},
    "eof and close": {Message.CHANNEL_EOF, Message.CHANNEL_CLOSE},
    "window": {Message.CHANNEL_WINDOW_ADJUST},
}


@pytest.mark.parametrize("on_stop", ["leave", "kill"])
@pytest.mark.parametrize("missing", UNANSWERED)
async def test_timeout_ends_a_command_whose_host_is_silent(own_server: SshdFleet, missing: str, on_stop: Any) -> None:
    """The host withholds the answer to the command, or what follows it."""
    async with (
        asyncio.timeout(processes.PATIENCE),
        signalling_host(own_server, withheld=UNANSWERED[missing]) as host,
        Fleet([host, own_server.hosts[0]], ssh=own_server.ssh) as fleet,
    ):
        command = "true" if "close" in missing else "exec sleep 60"
        silent = asyncio.create_task(
            fleet.hosts(host).run(command, timeout=0.5, kill_after=0.2, on_stop=on_stop, stdin=bytes(5_000_000))
        )
        assert (await fleet.hosts(own_server.hosts[0]).run("true")).ok
        (outcome,) = await silent
        assert (outcome.status, outcome.clock, outcome.sent) == (Status.TIMED_OUT, "timeout", True)


async def test_command_that_is_refused_ends_although_its_session_is_not_closed(own_server: SshdFleet) -> None:
    withheld = {Message.CHANNEL_CLOSE}
    async with (
        asyncio.timeout(processes.PATIENCE),
        signalling_host(own_server, withheld=withheld) as host,
        Fleet(host, ssh=own_server.ssh) as fleet,
    ):
        (outcome,) = await fleet.run("refused", on_stop="leave")
        assert (outcome.status, outcome.reason) == (Status.LOST, "the host refused the command")


async def test_close_without_an_exit_status_loses_the_command(own_server: SshdFleet) -> None:
    withheld = {Message.CHANNEL_REQUEST}
    async with signalling_host(own_server, withheld=withheld) as host, Fleet(host, ssh=own_server.ssh) as fleet:
        (outcome,) = await fleet.run("echo out", on_stop="leave")
    assert (outcome.status, outcome.sent, outcome.stdout) == (Status.LOST, True, b"out\n")
    assert outcome.reason == "the host closed the channel and sent no exit status"


# what a command costs


async def test_command_takes_one_write(own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close of the last command, the command, the end of its input, and the next session go out together."""
    monkeypatch.setattr("sshfan_async.mux.connection._LINGER", processes.PATIENCE)
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await fleet.run("true", on_stop="leave")
        writes = Writes(the_sessions(fleet).connection)
        for _ in range(5):
            await processes.until(lambda: spare_is_open(fleet), "the session")
            await fleet.run("true", on_stop="leave")
    one = [Message.CHANNEL_CLOSE, Message.CHANNEL_REQUEST, Message.CHANNEL_EOF, Message.CHANNEL_OPEN]
    assert writes.each[:5] == 5 * [one]


async def test_closed_session_is_not_kept_for_the_next_command(
    own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.mux.connection._LINGER", 0.01)
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        writes = Writes(the_sessions(fleet).connection)
        await fleet.run("true", on_stop="leave")
        await processes.until(lambda: [Message.CHANNEL_CLOSE] in writes.each, "the close")


async def test_close_of_a_session_that_the_next_command_needs_does_not_wait(
    own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.mux.connection._LINGER", 10 * processes.PATIENCE)
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh, sessions=1) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        writes = Writes(the_sessions(fleet).connection)
        await fleet.run("true", on_stop="leave")
        await processes.until(lambda: [Message.CHANNEL_CLOSE] in writes.each, "the close")


async def test_command_takes_no_task_and_no_timer_of_the_loop(
    stock_fleet: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.mux.connection._LINGER", processes.PATIENCE)
    monkeypatch.setattr("sshfan_async.mux.spare._SPARE_LIFETIME", processes.PATIENCE)
    taken: list[str] = []

    def note(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            taken.append(name)
            return original(*arguments, **options)

        patch.setattr(owner, name, noted)

    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        await fleet.run("true", timeout=20.0)
        with monkeypatch.context() as patch:
            loop = asyncio.get_running_loop()
            for owner, name in ((asyncio, "Task"), (loop, "create_task"), (loop, "call_at"), (loop, "call_later")):
                note(owner, name)
            for _ in range(5):
                assert (await fleet.run("true", timeout=20.0, on_stop="leave")).ok
    assert taken == []
