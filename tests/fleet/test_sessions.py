from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import Fleet, Status
from sshfan_async.mux.wire import Message
from sshfan_async.testing import SshdFleet
from tests.support import processes
from tests.support.fleets import master, remote_pid, spare_is_open, the_sessions
from tests.support.packets import Writes
from tests.support.signalling_host import signalling_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sshfan_async.fleet.host import FleetHost
    from sshfan_async.fleet.sessions import Sessions


async def test_more_commands_than_sessions_wait_their_turn(stock_fleet: SshdFleet) -> None:
    async with Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        reports = await asyncio.gather(*(fleet.run(f"echo {number}") for number in range(60)))
        assert the_sessions(fleet)._room == 10  # no late close has lowered the assumed limit of the host
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
    """Sshd keeps the session until its process ends; our channel is closed, so we cannot ask on it."""
    async with Fleet(few_sessions.hosts, ssh=few_sessions.ssh) as fleet:
        (left,) = await fleet.run("echo $$; exec sleep 60", timeout=0.2, on_stop="leave")
        for _ in range(4):
            assert (await fleet.run("true", deadline=10.0)).ok
        os.kill(remote_pid(left), signal.SIGKILL)


async def test_question_that_the_host_never_answers_holds_up_no_command(
    own_server: SshdFleet, tmp_path: Path
) -> None:
    """A host does not answer on a channel that it has closed."""

    async def told(fleet: Fleet, name: str) -> int:
        """Start a command that ends when its file exists; return its pid."""
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


# hosts that do not answer


@contextlib.asynccontextmanager
async def silent_host(
    own_server: SshdFleet, withheld: set[int], **options: Any
) -> AsyncIterator[tuple[Fleet, FleetHost]]:
    """Open a fleet of a host that withholds messages, with the host's part of the fleet."""
    async with (
        signalling_host(own_server, withheld=withheld) as host,
        Fleet(host, ssh=own_server.ssh, **options) as fleet,
    ):
        (part,) = fleet._pool._hosts.values()
        async with asyncio.timeout(processes.PATIENCE):
            yield fleet, part


async def test_session_that_the_host_never_opens_ends_at_the_connect_timeout(own_server: SshdFleet) -> None:
    withheld = {Message.CHANNEL_OPEN_CONFIRMATION}
    async with (
        asyncio.timeout(processes.PATIENCE),
        signalling_host(own_server, withheld=withheld) as host,
        Fleet([host, own_server.hosts[0]], ssh=own_server.ssh, connect_timeout=3.0) as fleet,
    ):
        assert fleet.status.ok
        report = await fleet.run("true")
        assert report[own_server.hosts[0]].ok
        outcome = report[host]
        assert (outcome.status, outcome.clock, outcome.sent) == (Status.TIMED_OUT, "connect_timeout", False)
        assert outcome.reason == "timed out after 3.0 s in queued; the host did not open a session for it"
        withheld.clear()
        assert (await fleet.run("true")).ok


async def test_sessions_that_the_host_never_closes_hold_up_no_command(own_server: SshdFleet, tmp_path: Path) -> None:
    """The connection is replaced. A command that runs on it goes on."""
    withheld: set[int] = set()
    async with silent_host(own_server, withheld, sessions=3) as (fleet, host):
        going_on = asyncio.create_task(fleet.run(f"until [ -e {tmp_path}/end ]; do sleep 0.02; done; echo on"))
        withheld.add(Message.CHANNEL_CLOSE)
        commands = [fleet.run("exec sleep 60", timeout=0.2, kill_after=0.2, on_stop="leave") for _ in range(2)]
        for report in await asyncio.gather(*commands):
            assert (report.outcomes[0].status, report.outcomes[0].clock) == (Status.TIMED_OUT, "timeout")
        withheld.clear()
        assert all(report.ok for report in await asyncio.gather(*(fleet.run("true") for _ in range(3))))
        (tmp_path / "end").touch()
        (outcome,) = await going_on
        assert (outcome.status, outcome.stdout) == (Status.OK, b"on\n")
        await processes.until(lambda: len(host._open) == 1, "the end of the connection that was replaced")


async def test_command_waits_for_a_free_session_while_others_get_one(own_server: SshdFleet) -> None:
    async with silent_host(own_server, set(), sessions=1) as (fleet, host):
        host.queue.seconds = 0.5
        reports = await asyncio.gather(*(fleet.run("sleep 0.2") for _ in range(5)))
        assert all(report.ok for report in reports)
        long = asyncio.create_task(fleet.run("sleep 60"))
        await processes.until(lambda: not the_sessions(fleet).are_free, "the long command to begin")
        (outcome,) = await fleet.run("true")
        assert (outcome.status, outcome.clock, outcome.sent) == (Status.TIMED_OUT, "connect_timeout", False)
        assert "no session became free for it" in outcome.reason
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        assert (await fleet.run("true")).ok


async def test_session_is_free_after_a_while_if_the_host_answers_no_request(
    own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.fleet.sessions._ANSWER_SECONDS", 0.2)
    withheld = {Message.CHANNEL_SUCCESS, Message.CHANNEL_FAILURE}
    async with silent_host(own_server, withheld, sessions=2) as (fleet, _):
        long = asyncio.create_task(fleet.run("sleep 60"))
        for _ in range(3):
            assert (await fleet.run("true")).ok
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long


async def test_new_connection_is_made_while_a_command_runs_on_the_old_one(own_server: SshdFleet) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh, max_age=0.2) as fleet:
        (host,) = fleet._pool._hosts.values()
        long = asyncio.create_task(fleet.run("sleep 60"))
        await processes.until(lambda: host.queue.sessions is None, "the connection to be replaced")
        assert (await fleet.run("true", deadline=processes.PATIENCE)).ok
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long


# sessions that are opened ahead


@contextlib.contextmanager
def frozen(server: SshdFleet) -> Iterator[None]:
    """Stop the server's processes of the only connection while the block runs."""
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
        await processes.until(lambda: the_sessions(fleet)._active == 1, "the command to begin")
        processes.signal_servers(own_server.sshd_pid, signal.SIGKILL)
        (outcome,) = await running
        assert (outcome.status, outcome.sent) == (Status.LOST, True)


async def test_session_of_long_ago_is_closed_and_no_command_is_sent_in_it(
    own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.mux.spare._SPARE_LIFETIME", 0.05)
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        await processes.until(lambda: not spare_is_open(fleet), "the session closed")
        with frozen(own_server):
            (outcome,) = await fleet.run("true", deadline=0.1)
        assert (outcome.status, outcome.sent) == (Status.TIMED_OUT, False)
        assert (await fleet.run("true")).ok


async def test_session_is_not_used_if_the_loop_was_blocked_beyond_its_lifetime(
    own_server: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is submitted in the first turn of the loop, before the session's timer."""
    monkeypatch.setattr("sshfan_async.mux.spare._SPARE_LIFETIME", 0.2)
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        with frozen(own_server):
            running = asyncio.create_task(fleet.run("true", deadline=0.5, on_stop="leave"))
            time.sleep(0.3)  # blocks the loop: this is the cause under test
            (outcome,) = await running
        assert (outcome.status, outcome.sent) == (Status.TIMED_OUT, False)


async def test_session_refused_with_the_close_of_another_shows_no_limit() -> None:
    """The host reads the close of one session, a command and the next opening at once, and still counts two."""

    async def close_is_read(sessions: Sessions) -> None:
        connection = sessions.connection
        connection.send_keepalive()
        number = connection.requests_sent
        await processes.until(lambda: connection.last_answered >= number, "an answer")

    options = {"KexAlgorithms": "curve25519-sha256", "MaxSessions": "2"}
    with SshdFleet(1, sshd_options=options) as server:
        async with Fleet(server.hosts[0], ssh=server.ssh) as fleet:
            sessions = the_sessions(fleet)
            assert (await fleet.run("true", on_stop="leave")).ok
            await processes.until(lambda: spare_is_open(fleet), "the session")
            with frozen(server):
                writes = Writes(sessions.connection)
                running = asyncio.create_task(fleet.run("true", on_stop="leave"))
                await processes.until(lambda: writes.each, "the command to be sent")
            assert (await running).ok
            for _ in range(3):
                await processes.until(lambda: spare_is_open(fleet), "the session")
                await close_is_read(sessions)
                assert (await fleet.run("true", on_stop="leave")).ok
            assert (sessions._refusals, sessions._room) == (1, 10)


async def test_only_session_of_a_host_is_not_asked_for_twice(own_server: SshdFleet) -> None:
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh, sessions=1) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        running = asyncio.create_task(fleet.run("exec sleep 60"))
        await processes.until(lambda: "Starting session: command" in own_server.sshd_log(), "the command")
        assert the_sessions(fleet)._spare is None
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
        the_sessions(fleet).connection.close()
        (outcome,) = await fleet.run("true")
        assert (outcome.status, outcome.attempts) == (Status.OK, 1)


async def test_command_whose_session_was_asked_for_ahead_is_sent_over_the_next_connection(
    own_server: SshdFleet,
) -> None:
    """The host has not opened the session when the connection is lost."""
    async with Fleet(own_server.hosts[0], ssh=own_server.ssh) as fleet:
        await processes.until(lambda: spare_is_open(fleet), "the session")
        processes.stop_servers(own_server.sshd_pid)
        first = asyncio.create_task(fleet.run("echo first", on_stop="leave"))
        second = asyncio.create_task(fleet.run("echo second", on_stop="leave"))
        await processes.until(lambda: the_sessions(fleet)._opening, "the second command to wait for its session")
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
    """Commands that exit, time out or are cancelled, more at once than the host has sessions."""
    monkeypatch.setattr("sshfan_async.mux.spare._SPARE_LIFETIME", 0.02)
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
        await processes.until(lambda: the_sessions(fleet)._active == 0, "every place free again")
        assert not the_sessions(fleet)._opening
        assert fleet.status.outcomes[0].attempts == 1
    assert complaints == []
