from __future__ import annotations

import asyncio
import contextlib
import gc
import glob
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import asyncssh
import pytest

from sshfan_async import (
    Fleet,
    FleetUnavailable,
    InvalidSetting,
    InvalidTarget,
    Phase,
    Ssh,
    Status,
    SyncFleet,
    Target,
)
from sshfan_async.fleet.command import HostCommand
from sshfan_async.process.uncancelled import complete
from sshfan_async.testing import SshdFleet
from tests.support import processes
from tests.support.dropbear import serving
from tests.support.listeners import listening, passing_on_to, stall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sshfan_async import Outcome
    from sshfan_async.event import Stream
    from sshfan_async.testing.pytest_plugin import SshdFleetFactory

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def no_file_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test's temporary directory is its own: other fleets may run on this machine."""
    tmp_path_factory.getbasetemp()  # the first call asks tempfile
    with tempfile.TemporaryDirectory(prefix="f") as directory:  # short: sockets are made in it
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield
        processes.wait_until(lambda: not directories(), "all sockets' directories removed")


def directories() -> set[str]:
    """Sockets' directories: those of `SshdFleet` have one hyphen less."""
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "sshfan-*-*")))


@pytest.fixture(scope="session")
def stock_fleet(sshd_fleet_factory: SshdFleetFactory) -> SshdFleet:
    """Hosts with OpenSSH's own limit of 10 sessions."""
    return sshd_fleet_factory(3, sshd_options={"KexAlgorithms": "curve25519-sha256", "MaxSessions": "10"})


@pytest.fixture(scope="session", params=[3])
def few_sessions(request: pytest.FixtureRequest, sshd_fleet_factory: SshdFleetFactory) -> SshdFleet:
    """A host with another limit."""
    limit = str(request.param)
    return sshd_fleet_factory(1, sshd_options={"KexAlgorithms": "curve25519-sha256", "MaxSessions": limit})


@pytest.fixture
def own_server() -> Iterator[SshdFleet]:
    """A server that a test may hurt."""
    with SshdFleet(2, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as server:
        yield server


def remote_pid(outcome: Outcome) -> int:
    return int(outcome.stdout.split()[0])


def master() -> int:
    """Return the only ssh among our children: the keeper is a shell."""
    (pid,) = (pid for pid in processes.children() if name(pid) == "ssh")
    return pid


def name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


# connecting


async def test_entering_connects_every_host_and_tells_its_phases(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        status = fleet.status
        assert [outcome.host for outcome in status] == list(stock_fleet.hosts)
        assert status.ok
        for outcome in status:
            assert outcome.attempts == 1
            assert not outcome.sent
            assert [phase for phase, _ in outcome.phases] == [
                Phase.QUEUED, Phase.RESOLVE, Phase.CONNECT, Phase.HANDSHAKE, Phase.AUTH,
            ]  # fmt: skip
    assert [outcome.status for outcome in fleet.status] == 3 * [Status.NOT_RUN]


async def test_host_that_cannot_be_reached_is_named_and_the_others_run(own_server: SshdFleet) -> None:
    own_server.add_host("broken", options={"HostName": "127.0.0.1", "Port": "1"})
    own_server.add_host("stranger", options={"UserKnownHostsFile": "/dev/null"})
    async with Fleet([*own_server.hosts, "broken", "stranger"], ssh=own_server.ssh) as fleet:
        assert fleet.status["broken"].status is Status.UNREACHABLE
        assert "Connection refused" in fleet.status["broken"].reason
        assert fleet.status["stranger"].status is Status.HOST_KEY
        report = await fleet.run("echo here")
        assert [outcome.host for outcome in report if outcome.ok] == list(own_server.hosts)
        assert report["broken"].status is Status.UNREACHABLE
        assert not report["broken"].sent
        assert report["broken"].attempts == 0


async def test_host_that_was_not_reached_fails_at_once_for_a_while(own_server: SshdFleet) -> None:
    with listening(lambda number, connection: None) as listener:
        own_server.add_host("dead", options={"HostName": "127.0.0.1", "Port": str(listener.port)})
        async with Fleet("dead", ssh=own_server.ssh, retries=0) as fleet:
            assert fleet.status["dead"].status is Status.DROPPED
            tried = listener.accepted
            assert (await fleet.run("true"))["dead"].status is Status.DROPPED
            assert listener.accepted == tried


async def test_connection_that_was_dropped_is_tried_again(own_server: SshdFleet) -> None:
    with listening(passing_on_to(own_server.port, dropping=1)) as listener:
        own_server.add_host(
            "busy",
            options={
                "HostName": "127.0.0.1",
                "Port": str(listener.port),
                "HostKeyAlias": f"[127.0.0.1]:{own_server.port}",
            },
        )
        async with Fleet("busy", ssh=own_server.ssh) as fleet:
            assert fleet.status["busy"].ok
            assert fleet.status["busy"].attempts == 2


async def test_host_that_stalls_ends_at_the_connect_timeout(own_server: SshdFleet) -> None:
    with listening(stall) as listener:
        own_server.add_host("stalls", options={"HostName": "127.0.0.1", "Port": str(listener.port)})
        async with Fleet([*own_server.hosts, "stalls"], ssh=own_server.ssh, connect_timeout=1.0) as fleet:
            outcome = fleet.status["stalls"]
            assert (outcome.status, outcome.clock) == (Status.TIMED_OUT, "connect_timeout")
            assert (await fleet.hosts(own_server.hosts).run("true")).ok


async def test_missing_program_is_an_error() -> None:
    with pytest.raises(FleetUnavailable, match="no such program"):
        async with Fleet("web1", ssh=Ssh(program="no-such-ssh")):
            pass


async def test_cancellation_while_connecting_leaves_nothing(own_server: SshdFleet) -> None:
    with listening(stall) as listener:
        own_server.add_host("stalls", options={"HostName": "127.0.0.1", "Port": str(listener.port)})

        async def enter() -> None:
            async with Fleet([*own_server.hosts, "stalls"], ssh=own_server.ssh):
                pass

        entering = asyncio.create_task(enter())
        await processes.until(lambda: listener.accepted > 0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering


@pytest.mark.parametrize(
    "options",
    [
        {"idle_timeout": 0},
        {"max_age": -1.0},
        {"max_age": 3e9},
        {"sessions": 0},
        {"fanout": "many"},
        {"fanout": 0},
        {"connect_timeout": 0},
        {"retries": -1},
        {"ssh": "ssh"},
    ],
)
def test_impossible_setting_is_refused_before_anything_starts(options: dict[str, Any]) -> None:
    (setting,) = options
    with pytest.raises(InvalidSetting, match=setting):
        Fleet("web1", **options)


# commands


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


async def test_more_commands_than_sessions_wait_their_turn(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        reports = await asyncio.gather(*(fleet.run(f"echo {number}") for number in range(60)))
        (link,) = fleet._pool._hosts.values()
        assert link.sessions._room == 10  # no close was so late that it made the host seem smaller
    assert [report.outcomes[0].stdout for report in reports] == [b"%d\n" % number for number in range(60)]


@pytest.mark.parametrize("few_sessions", [1, 3], indirect=True)
async def test_host_with_fewer_sessions_than_ours_makes_commands_wait_too(few_sessions: SshdFleet) -> None:
    async with Fleet(few_sessions.hosts, ssh=few_sessions.ssh) as fleet:
        reports = await asyncio.gather(*(fleet.run("sleep 0.1") for _ in range(10)))
        assert [report.ok for report in reports] == 10 * [True]
        assert fleet.status.outcomes[0].attempts == 1


@pytest.mark.parametrize("few_sessions", [1, 2, 3], indirect=True)
async def test_host_with_few_sessions_runs_one_command_after_the_other(few_sessions: SshdFleet) -> None:
    async with Fleet(few_sessions.hosts, ssh=few_sessions.ssh) as fleet:
        reports = [await fleet.run("true") for _ in range(6)]
        assert [report.ok for report in reports] == 6 * [True]
        assert fleet.status.outcomes[0].attempts == 1


@pytest.mark.parametrize("few_sessions", [2, 3], indirect=True)
async def test_session_that_a_left_command_keeps_holds_up_no_other(few_sessions: SshdFleet) -> None:
    """Sshd closes a session only when its process has ended; ours is closed, and nothing can be asked on it."""
    async with Fleet(few_sessions.hosts, ssh=few_sessions.ssh) as fleet:
        (left,) = await fleet.run("echo $$; exec sleep 60", timeout=0.2, on_stop="leave")
        for _ in range(4):
            assert (await fleet.run("true", deadline=10.0)).ok
        os.kill(remote_pid(left), signal.SIGKILL)


async def test_question_that_the_host_never_answers_holds_up_no_command(
    own_server: SshdFleet, tmp_path: Path
) -> None:
    """What is asked on a channel that the host has closed is not answered."""

    async def told(fleet: Fleet, name: str) -> int:
        """Begin a command that ends when its file is there; return its pid."""
        command = f"echo $$ >{tmp_path}/{name}.pid; until [ -e {tmp_path}/{name} ]; do sleep 0.02; done"
        running.append(asyncio.create_task(fleet.run(command, on_stop="leave")))
        pid = tmp_path / f"{name}.pid"
        await processes.until(lambda: pid.exists() and pid.read_text().endswith("\n"), name)
        return int(pid.read_text())

    running: list[asyncio.Task[Any]] = []
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh, sessions=3) as fleet:
        pids = {name: await told(fleet, name) for name in ("asked", "long", "first")}
        waiting = asyncio.create_task(fleet.run("true", deadline=10.0))
        await asyncio.sleep(0)
        the_master = master()
        os.kill(the_master, signal.SIGSTOP)
        for name in ("first", "asked"):
            (tmp_path / name).touch()
            await processes.until(lambda name=name: not processes.is_running(pids[name]), name)  # type: ignore[misc]
        os.kill(the_master, signal.SIGCONT)
        (outcome,) = await waiting
        assert outcome.status is Status.OK
        (tmp_path / "long").touch()
        assert all(report.ok for report in await asyncio.gather(*running))


@pytest.mark.parametrize("few_sessions", [0], indirect=True)
async def test_host_that_opens_no_session_is_not_sent_the_command(few_sessions: SshdFleet) -> None:
    async with Fleet(few_sessions.hosts, ssh=few_sessions.ssh) as fleet:
        (outcome,) = await fleet.run("true")
    assert (outcome.status, outcome.sent) == (Status.DROPPED, False)
    assert "opens no session" in outcome.reason


async def test_part_of_a_fleet_runs_on_its_hosts_alone(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        part = fleet.hosts([stock_fleet.hosts[2], Target(stock_fleet.hosts[0])])
        assert [outcome.host for outcome in await part.run("true")] == [stock_fleet.hosts[2], stock_fleet.hosts[0]]
        assert len(part.status) == 2
        with pytest.raises(InvalidTarget, match="'elsewhere' is not in this fleet"):
            fleet.hosts("elsewhere")


async def test_stream_gives_outcomes_as_they_come(stock_fleet: SshdFleet) -> None:
    async with (
        Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet,
        fleet.stream("case $SSH_CONNECTION in *) echo here;; esac") as outcomes,
    ):
        found = [outcome async for outcome in outcomes]
    assert sorted(outcome.host for outcome in found) == list(stock_fleet.hosts)


async def test_leaving_a_stream_early_ends_what_runs(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        began = time.monotonic()
        async with fleet.stream("sleep 60") as outcomes:
            assert outcomes is not None
        assert time.monotonic() - began < 20
        assert (await fleet.run("true")).ok


async def test_use_outside_of_the_block_is_refused(stock_fleet: SshdFleet) -> None:
    fleet = Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh)
    with pytest.raises(RuntimeError, match="not open"):
        await fleet.run("true")
    async with fleet:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await fleet.run("true")
    with pytest.raises(RuntimeError, match="once"):
        async with fleet:
            pass


async def test_command_that_cannot_be_sent_is_refused(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        with pytest.raises(InvalidSetting, match="empty"):
            await fleet.run("")


# sessions that are opened ahead


def spare_is_open(fleet: Fleet) -> bool:
    """Whether the only host has opened a session for the next command."""
    (link,) = fleet._pool._hosts.values()
    return link.sessions._spare is not None and link.sessions._spare._channel.is_open


@contextlib.contextmanager
def frozen(server: SshdFleet) -> Iterator[None]:
    """Keep the server's side of the only connection from answering."""
    processes.stop_servers(server.sshd_pid)
    yield
    processes.signal_servers(server.sshd_pid, signal.SIGCONT)


@pytest.mark.parametrize("before", [0, 1], ids=["first", "second"])
async def test_command_is_sent_without_a_wait_for_its_session(own_server: SshdFleet, before: int) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        for _ in range(before):
            await fleet.run("true")
        await processes.until(lambda: spare_is_open(fleet), "the session")
        processes.stop_servers(own_server.sshd_pid)
        running = asyncio.create_task(fleet.run("true", on_stop="leave"))
        (link,) = fleet._pool._hosts.values()
        await processes.until(lambda: link.sessions._active == 1, "the command to begin")
        processes.signal_servers(own_server.sshd_pid, signal.SIGKILL)
        (outcome,) = await running
        assert (outcome.status, outcome.sent) == (Status.LOST, True)


async def test_session_of_long_ago_is_closed_and_no_command_is_sent_in_it(
    own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.fleet.sessions._SPARE_LIFETIME", 0.05)
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        await processes.until(lambda: not spare_is_open(fleet), "the session closed")
        with frozen(own_server):
            (outcome,) = await fleet.run("true", deadline=0.1)
        assert (outcome.status, outcome.sent) == (Status.TIMED_OUT, False)
        assert (await fleet.run("true")).ok


async def test_session_is_not_used_where_the_loop_was_blocked_beyond_its_time(
    own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is submitted in the third turn of the loop, before the session's timer."""
    monkeypatch.setattr("sshfan_async.fleet.sessions._SPARE_LIFETIME", 0.2)
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        with frozen(own_server):
            running = asyncio.create_task(fleet.run("true", deadline=0.5, on_stop="leave"))
            for _ in range(2):
                await asyncio.sleep(0)
            time.sleep(0.3)  # the cause itself: nothing waits for it
            (outcome,) = await running
        assert (outcome.status, outcome.sent) == (Status.TIMED_OUT, False)


async def test_only_session_of_a_host_is_not_asked_for_twice(own_server: SshdFleet) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh, sessions=1) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        running = asyncio.create_task(fleet.run("exec sleep 60"))
        await processes.until(lambda: "Starting session: command" in own_server.sshd_log(), "the command")
        (link,) = fleet._pool._hosts.values()
        assert link.sessions._spare is None
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_session_that_the_host_closes_is_not_used(own_server: SshdFleet) -> None:
    async with signalling_host(own_server, patience=0.05) as host, Fleet(host, ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        await processes.until(lambda: not spare_is_open(fleet), "the session closed")
        assert (await fleet.run("true")).ok


async def test_session_that_is_lost_with_its_connection_is_not_used(own_server: SshdFleet) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        os.kill(master(), signal.SIGKILL)
        await processes.until(lambda: not fleet.status.ok, "the loss")
        assert (await fleet.run("true")).outcomes[0].attempts == 1


async def test_session_is_not_used_once_its_connection_is_known_to_be_closed(own_server: SshdFleet) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        (link,) = fleet._pool._hosts.values()
        assert link._connection is not None
        link._connection.close()
        (outcome,) = await fleet.run("true")
        assert (outcome.status, outcome.attempts) == (Status.OK, 1)


async def test_command_whose_session_was_asked_for_ahead_is_sent_over_the_next_connection(
    own_server: SshdFleet,
) -> None:
    """It takes a session that the host has not opened when the connection is lost."""
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        processes.stop_servers(own_server.sshd_pid)
        first = asyncio.create_task(fleet.run("echo first", on_stop="leave"))
        second = asyncio.create_task(fleet.run("echo second", on_stop="leave"))
        (link,) = fleet._pool._hosts.values()
        await processes.until(lambda: link.sessions._opening, "the second command to wait for its session")
        processes.signal_servers(own_server.sshd_pid, signal.SIGKILL)
        (outcome,) = await first
        assert (outcome.status, outcome.sent) == (Status.LOST, True)
        (outcome,) = await second
        assert (outcome.status, outcome.stdout, outcome.attempts) == (Status.OK, b"second\n", 2)


@pytest.mark.slow
@pytest.mark.parametrize("few_sessions", [1, 2, 3, 10], indirect=True)
async def test_any_mix_of_commands_gives_each_its_outcome(
    few_sessions: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that end by themselves, at their clocks, or with their callers, more at once than the host takes."""
    monkeypatch.setattr("sshfan_async.fleet.sessions._SPARE_LIFETIME", 0.02)
    chance, complaints = random.Random(7), []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

    async def work(fleet: Fleet) -> None:
        for _ in range(60):
            clocks: dict[str, Any] = chance.choice(
                [{}, {}, {"timeout": 0.03}, {"deadline": 0.03}, {"deadline": 0.001}]
            )
            command = chance.choice(["true", "sleep 0.02", "exec sleep 0.3", "head -c 200000 /dev/zero"])
            run = asyncio.create_task(fleet.run(command, on_stop=chance.choice(["leave", "kill"]), **clocks))
            if chance.random() < 0.2:
                await asyncio.wait([run], timeout=chance.random() / 20)
                run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (outcome,) = await asyncio.wait_for(run, 20)
                assert outcome.status is (Status.TIMED_OUT if outcome.clock is not None else Status.OK)

    async with Fleet(few_sessions.hosts, ssh=few_sessions.ssh, sessions=4) as fleet:
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(work(fleet))
        (link,) = fleet._pool._hosts.values()
        await processes.until(lambda: link.sessions._active == 0, "every place free again")
        assert not link.sessions._opening
        assert fleet.status.outcomes[0].attempts == 1
    assert complaints == []


# stopping


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["TERM", "KILL"])
async def test_timeout_ends_the_remote_command(stock_fleet: SshdFleet, trap: str) -> None:
    command = f"{trap}echo $$; while :; do sleep 0.1; done"
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        began = time.monotonic()
        (outcome,) = await fleet.run(command, timeout=0.5, kill_after=0.5)
        assert (outcome.status, outcome.clock, outcome.remote) == (Status.TIMED_OUT, "timeout", "ended")
        assert not processes.is_running(remote_pid(outcome))
        assert outcome.phases.run is not None
        assert 0.5 <= outcome.phases.run <= time.monotonic() - began
        assert (await fleet.run("true")).ok


async def test_deadline_ends_what_runs_and_what_waits(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh, sessions=1) as fleet:
        running = asyncio.create_task(fleet.run("sleep 60", timeout=0.8))
        await asyncio.sleep(0)
        (outcome,) = await fleet.run("true", deadline=0.3)
        assert (outcome.status, outcome.clock, outcome.sent) == (Status.TIMED_OUT, "deadline", False)
        assert outcome.phase is Phase.QUEUED
        await running


async def test_leave_leaves_the_command_running(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        (outcome,) = await fleet.run("echo $$; exec sleep 60", timeout=0.5, on_stop="leave")
        assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "left")
        assert processes.is_running(remote_pid(outcome))
        os.kill(remote_pid(outcome), signal.SIGKILL)


async def test_cancellation_ends_the_commands_before_it_goes_on(stock_fleet: SshdFleet, tmp_path: Path) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        running = asyncio.create_task(fleet.run(f"echo $$ >{tmp_path}/pid; exec sleep 60"))
        await processes.until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        pid = int((tmp_path / "pid").read_text())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not processes.is_running(pid)
        assert (await fleet.run("true")).ok


async def test_leaving_the_fleet_ends_its_runs(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        running = asyncio.create_task(fleet.run("echo $$; exec sleep 60"))
        assert (await fleet.run("true")).ok
    (outcome,) = await running
    assert outcome.status is Status.CANCELLED
    assert outcome.remote == "ended"


async def test_refused_signal_is_told_and_the_next_command_is_wrapped(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        (link,) = fleet._pool._hosts.values()
        if link.takes_signals:
            pytest.skip("this sshd signals its sessions")
        link.takes_signals = True  # as a wrong guess would have it
        (outcome,) = await fleet.run("echo $$; exec sleep 60", timeout=0.3)
        assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "left")
        assert "the host refused to signal it, and it was left running" in outcome.reason
        os.kill(remote_pid(outcome), signal.SIGKILL)
        (outcome,) = await fleet.run("echo $$; exec sleep 60", timeout=0.3)
        assert outcome.remote == "ended"


@contextlib.asynccontextmanager
async def signalling_host(own_server: SshdFleet, patience: float = 60.0) -> AsyncIterator[str]:
    """A server of another make that says it is a new OpenSSH and signals its commands.

    It closes a session that has no command for `patience` seconds.
    """
    directory = own_server.directory

    class Session(asyncssh.SSHServerSession[bytes]):
        def connection_made(self, chan: Any) -> None:
            self.chan = chan
            self.impatience = asyncio.get_running_loop().call_later(patience, chan.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self.impatience.cancel()

        def exec_requested(self, command: str) -> bool:
            self.command = command
            self.impatience.cancel()
            return True

        def session_started(self) -> None:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", self.command],
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            threading.Thread(target=self.follow, args=(asyncio.get_running_loop(),)).start()

        def follow(self, loop: asyncio.AbstractEventLoop) -> None:
            assert self.process.stdout is not None
            with self.process.stdout as output:
                while data := os.read(output.fileno(), 4096):
                    loop.call_soon_threadsafe(self.chan.write, data)
            code = self.process.wait()
            if code < 0:
                loop.call_soon_threadsafe(self.chan.exit_with_signal, signal.Signals(-code).name.removeprefix("SIG"))
            else:
                loop.call_soon_threadsafe(self.chan.exit, code)

        def eof_received(self) -> bool:
            return True

        def signal_received(self, name: str) -> None:
            os.killpg(self.process.pid, getattr(signal, f"SIG{name}"))

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

        def session_requested(self) -> Any:
            return Session()

    server = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        0,
        server_host_keys=[str(directory / "host_key")],
        server_version="OpenSSH_9.9",
        encoding=None,
        line_editor=False,
    )
    async with server:
        own_server.add_host(
            "signals",
            options={
                "HostName": "127.0.0.1",
                "Port": str(server.get_port()),
                "HostKeyAlias": f"[127.0.0.1]:{own_server.port}",
            },
        )
        yield "signals"


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["TERM", "KILL"])
async def test_host_that_signals_gets_the_command_as_it_is_and_ends_it(own_server: SshdFleet, trap: str) -> None:
    async with signalling_host(own_server) as host, Fleet(host, ssh=own_server.ssh) as fleet:
        (outcome,) = await fleet.run("echo $0")
        assert outcome.stdout == b"/bin/sh\n"
        (outcome,) = await fleet.run(f"{trap}echo $$; while :; do sleep 0.1; done", timeout=0.5, kill_after=0.5)
        assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "ended")
        assert not processes.is_running(remote_pid(outcome))


async def test_scope_that_is_cancelled_tells_the_fleet_once(stock_fleet: SshdFleet) -> None:
    """anyio cancels in every turn of the loop what goes on in a cancelled scope, unless it is shielded."""
    told: list[int] = []
    ended = asyncio.Event()

    def tell() -> None:
        told.append(1)
        asyncio.get_running_loop().call_later(0.1, ended.set)

    with anyio.move_on_after(0) as scope:
        await complete(ended.wait(), on_cancel=tell)
    assert scope.cancelled_caught
    assert told == [1]


# failure


@pytest.fixture
def output_came(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once something that a command has written to its standard output has reached us."""
    came, take = asyncio.Event(), HostCommand.output

    def output(command: HostCommand, stream: Stream, data: bytes) -> None:
        take(command, stream, data)
        if stream == "stdout":
            came.set()

    monkeypatch.setattr(HostCommand, "output", output)
    return came


async def test_death_of_the_master_loses_what_runs_and_the_next_command_connects_again(
    own_server: SshdFleet, output_came: asyncio.Event
) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        running = asyncio.create_task(fleet.run("echo begun; exec sleep 30", on_stop="always"))
        await output_came.wait()
        os.kill(master(), signal.SIGKILL)
        (outcome,) = await running
        assert (outcome.status, outcome.sent, outcome.stdout) == (Status.LOST, True, b"begun\n")
        assert "the ssh master was ended here by signal 9" in outcome.reason
        assert fleet.status.outcomes[0].status is Status.DROPPED
        assert (await fleet.run("true")).ok
        assert fleet.status.ok


async def test_end_of_the_servers_process_loses_what_runs(own_server: SshdFleet, output_came: asyncio.Event) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        running = asyncio.create_task(fleet.run("echo begun; exec sleep 30", on_stop="always"))
        await output_came.wait()
        processes.signal_servers(own_server.sshd_pid, signal.SIGKILL)
        (outcome,) = await running
        assert (outcome.status, outcome.stdout) == (Status.LOST, b"begun\n")
        assert "closed by remote host" in outcome.reason
        assert (await fleet.run("true")).ok


async def test_frozen_link_loses_what_runs(own_server: SshdFleet, output_came: asyncio.Event) -> None:
    ssh = Ssh(config_file=own_server.ssh_config, options={"ServerAliveInterval": 1, "ServerAliveCountMax": 1})
    async with Fleet(own_server.hosts[0], ssh=ssh) as fleet:
        running = asyncio.create_task(fleet.run("echo begun; exec sleep 30", on_stop="leave"))
        await output_came.wait()
        processes.stop_servers(own_server.sshd_pid)
        (outcome,) = await running
        processes.signal_servers(own_server.sshd_pid, signal.SIGKILL)
        assert outcome.status is Status.LOST
        assert "not responding" in outcome.reason


async def test_command_that_waited_is_sent_over_the_next_connection(
    own_server: SshdFleet, output_came: asyncio.Event
) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh, sessions=1) as fleet:
        first = asyncio.create_task(fleet.run("echo begun; exec sleep 5", on_stop="always"))
        second = asyncio.create_task(fleet.run("echo second"))
        await output_came.wait()
        os.kill(master(), signal.SIGKILL)
        assert (await first).outcomes[0].status is Status.LOST
        (outcome,) = await second
        assert (outcome.status, outcome.stdout, outcome.attempts) == (Status.OK, b"second\n", 1)


async def test_idle_connection_is_closed_and_made_again(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh, idle_timeout=0.2) as fleet:
        await processes.until(lambda: not fleet.status.ok, "the connection closed")
        assert "closed after 0.2 s without a command" in fleet.status.outcomes[0].reason
        assert not any(name(pid) == "ssh" for pid in processes.children())
        assert (await fleet.run("sleep 0.4")).ok


async def test_old_connection_finishes_its_commands_and_takes_no_more(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh, max_age=0.3) as fleet:
        before = master()
        assert (await fleet.run("sleep 0.6")).ok
        assert (await fleet.run("true")).ok
        assert not processes.is_running(before)


# nothing is left behind


async def test_leaving_ends_every_process_and_closes_every_descriptor(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        await fleet.run("true")
    before, children = processes.descriptors(), processes.children()
    async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        assert not directories_of_ours()
        await fleet.run("true")
    assert processes.children() <= children
    assert processes.descriptors().keys() == before.keys()


def directories_of_ours() -> list[str]:
    return [path for path in directories() if os.stat(path).st_uid == os.geteuid() and os.listdir(path)]


@pytest.mark.parametrize("when", ["connected", "connecting"])
def test_killed_process_leaves_no_ssh_and_no_file(own_server: SshdFleet, when: str) -> None:
    script = f"""
        import asyncio, sys
        from sshfan_async import Fleet, Ssh
        async def main():
            async with Fleet({[*own_server.hosts, "stalls"]!r}, ssh=Ssh(config_file={str(own_server.ssh_config)!r}),
                             connect_timeout={60.0 if when == "connecting" else 1.0}) as fleet:
                print("connected", flush=True)
                await fleet.run("sleep 600", on_stop="always")
        asyncio.run(main())
    """
    with listening(stall) as listener:
        own_server.add_host("stalls", options={"HostName": "127.0.0.1", "Port": str(listener.port)})
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True
        ) as process:
            assert process.stdout is not None
            if when == "connected":
                assert process.stdout.readline() == b"connected\n"
            else:
                processes.wait_until(lambda: listener.accepted > 0)
            children = processes.children(process.pid)
            assert any(name(pid) == "ssh" for pid in children)
            process.kill()
        processes.wait_until(lambda: not any(map(processes.is_running, children)), "every ssh ended")
        processes.wait_until(lambda: not processes.children(own_server.sshd_pid), "every connection closed")


# other loops, and none


def test_fleet_works_in_any_loop(new_loop: Callable[[], asyncio.AbstractEventLoop], stock_fleet: SshdFleet) -> None:
    async def use() -> None:
        async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
            assert (await fleet.run("true")).ok
            async with fleet.stream("true") as outcomes:
                assert len([outcome async for outcome in outcomes]) == 3
            running = asyncio.create_task(fleet.run("echo $$; exec sleep 60"))
            await fleet.run("true")
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert (await fleet.run("sleep 60", timeout=0.2)).outcomes[0].status is Status.TIMED_OUT

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(use())


def test_sync_fleet_runs_many_commands_over_the_same_connections(stock_fleet: SshdFleet) -> None:
    with SyncFleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        parents = {fleet.run("echo $PPID")[stock_fleet.hosts[0]].stdout for _ in range(5)}
        assert len(fleet.hosts(stock_fleet.hosts[:2]).run("true")) == 2
        assert fleet.status.ok
    assert len(parents) == 1


def test_interrupt_ends_the_running_command_only(stock_fleet: SshdFleet, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def interrupt() -> None:
        processes.wait_until(begun.exists, "the command to begin")
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with SyncFleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
            interrupting.start()
            with pytest.raises(KeyboardInterrupt):
                fleet.run(f"touch {begun}; exec sleep 60")
            interrupting.join()
            assert fleet.run("true").ok
    finally:
        signal.signal(signal.SIGINT, handler)


def test_sync_fleet_that_is_never_left_does_not_keep_the_process(stock_fleet: SshdFleet) -> None:
    script = f"""
        from contextlib import ExitStack
        from sshfan_async import Ssh, SyncFleet
        ssh = Ssh(config_file={str(stock_fleet.ssh_config)!r})
        fleet = ExitStack().enter_context(SyncFleet({stock_fleet.hosts[0]!r}, ssh=ssh))
        print(fleet.run("echo here")[{stock_fleet.hosts[0]!r}].stdout, flush=True)
        raise SystemExit(3)
    """
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", textwrap.dedent(script)],
        capture_output=True, check=False, cwd=ROOT, text=True, timeout=processes.PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "b'here\\n'\n")
    assert "ResourceWarning: a SyncFleet was not closed" in done.stderr


def test_sync_fleet_says_that_it_is_closed(stock_fleet: SshdFleet) -> None:
    with SyncFleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        pass
    with pytest.raises(RuntimeError, match="this fleet is closed"):
        fleet.run("true")


def test_fleet_is_refused_in_a_fork_and_lives_on_in_its_own_process(stock_fleet: SshdFleet) -> None:
    script = f"""
        import os, sys
        from sshfan_async import Ssh, SyncFleet
        with SyncFleet({stock_fleet.hosts[0]!r}, ssh=Ssh(config_file={str(stock_fleet.ssh_config)!r})) as fleet:
            child = os.fork()
            if child == 0:
                try:
                    fleet.run("true")
                except RuntimeError as error:
                    print(error, flush=True)
                sys.exit(5)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), fleet.run("true").ok)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, check=False, cwd=ROOT, text=True, timeout=processes.PATIENCE,
    )  # fmt: skip
    assert done.stdout == "this fleet was opened in another process: open one after the fork\n5 True\n"
    assert done.returncode == 0


def test_fleet_of_another_loop_is_refused(stock_fleet: SshdFleet) -> None:
    with asyncio.Runner() as one:
        fleet = one.run(Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh).__aenter__())
        refused = threading.Thread(target=asyncio.run, args=(_refused(fleet),))
        refused.start()
        refused.join()
        one.run(fleet.__aexit__(None, None, None))


async def _refused(fleet: Fleet) -> None:
    with pytest.raises(RuntimeError, match="another event loop"):
        await fleet.run("true")


async def test_stream_that_is_refused_leaves_nothing_open(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        with pytest.raises(InvalidSetting, match="empty"):
            fleet.stream("")
        gc.collect()  # a stream that is not closed warns here, and warnings are errors


# other servers


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
        assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "ended")
        assert not processes.is_running(remote_pid(outcome))
