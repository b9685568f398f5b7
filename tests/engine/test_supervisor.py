"""Exactly one outcome per target, whatever goes wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

import sshfan_async
from sshfan_async import Outcome, Ssh, Status, fan_out
from sshfan_async.engine.run import checked_run
from sshfan_async.engine.supervisor import Supervisor
from sshfan_async.event import Event, HostFinished
from sshfan_async.process.descriptors import BUDGET
from sshfan_async.process.log_pipe import LogPipes
from tests.support.listeners import hang_up, listening
from tests.support.loops import Turns
from tests.support.processes import descriptors, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sshfan_async.testing import SshdFleet

HOSTS = ["a", "b", "c", "d"]


class Watched:
    """A supervisor, and the outcomes that it has reported."""

    def __init__(self, hosts: list[str], ssh: Ssh, **options: Any) -> None:
        self.outcomes: list[Outcome] = []
        self.supervisor = Supervisor(checked_run(hosts, "true", ssh=ssh, on_stop="leave", **options), self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, HostFinished):
            self.outcomes.append(event.outcome)


def hosts(count: int) -> list[str]:
    return [f"web{number:02}" for number in range(count)]


# the fanout


async def test_never_more_than_the_fanout_are_in_flight(stand_in: Callable[..., Ssh], tmp_path: Path) -> None:
    # None of the first three ends before there are three.
    ssh = stand_in(
        f"cd {tmp_path}; mkdir on-$$; on=$(ls -d on-* | wc -l); echo $on; [ $on -ge 3 ] && : >three\n"
        "until [ -e three ]; do sleep 0.02; done; rmdir on-$$"
    )
    report = await fan_out(hosts(12), "true", fanout=3, ssh=ssh)
    assert max(int(outcome.stdout) for outcome in report) == 3


async def test_all_at_once_without_a_fanout(stand_in: Callable[..., Ssh], tmp_path: Path) -> None:
    # Each waits for all the others.
    here = tmp_path / "here"
    ssh = stand_in(f"echo x >>{here}; until [ $(wc -l <{here}) = 80 ]; do sleep 0.2; done")
    report = await fan_out(hosts(80), "true", fanout=None, ssh=ssh)
    assert report.ok


# A table that grows during a spawn stalls the loop. In a child process: a table never shrinks.
TABLE_SIZES = """
import asyncio, os, sys
from sshfan_async import Ssh, fan_out

sizes = []
pipe = os.pipe

def size():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("FDSize:"))

def counted():
    sizes.append(size())
    return pipe()

async def main():
    ssh = Ssh(program=sys.argv[1])
    await fan_out("warm", "true", ssh=ssh)
    before = size()
    os.pipe = counted
    assert (await fan_out([f"web{n}" for n in range(120)], "true", fanout=None, ssh=ssh)).ok
    print(before, *sorted(set(sizes)))

asyncio.run(main())
"""


def test_the_table_of_descriptors_does_not_grow_while_children_are_made() -> None:
    ran = subprocess.run([sys.executable, "-c", TABLE_SIZES, "/bin/true"], check=True, capture_output=True, text=True)
    before, *during = map(int, ran.stdout.split())
    assert len(during) == 1
    assert during[0] > before


# spawns that fail


def failing(monkeypatch: pytest.MonkeyPatch, number: int, calls: Callable[[int], bool]) -> None:
    """Let the calls of `create_subprocess_exec` that `calls` selects, counted from 0, fail with errno `number`."""
    start = asyncio.create_subprocess_exec
    made = 0

    async def sometimes(*arguments: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if calls(made - 1):
            raise OSError(number, os.strerror(number))
        return await start(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", sometimes)


async def known(ssh: Ssh) -> Ssh:
    """Ask the program for its version now, so that no run does."""
    await fan_out("web", "true", ssh=ssh)
    return ssh


async def test_passing_shortage_of_processes_is_no_attempt(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = await known(stand_in("exit 0"))
    failing(monkeypatch, errno.EAGAIN, lambda call: call % 2 == 1)
    report = await fan_out(hosts(5), "true", retries=0, ssh=ssh)
    assert report.ok
    assert {outcome.attempts for outcome in report} == {1}


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM])
async def test_lasting_shortage_is_local(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("sshfan_async.process.spawn_gate._PATIENCE", 0.1)
    ssh = await known(stand_in("exit 0"))
    before = descriptors()
    failing(monkeypatch, number, lambda call: call > 2)
    report = await fan_out(hosts(6), "true", retries=0, fanout=1, ssh=ssh)
    assert [outcome.status for outcome in report] == [Status.OK] * 3 + [Status.LOCAL] * 3
    for outcome in report.not_ok:
        assert (outcome.sent, outcome.attempts, outcome.exit_code) == (False, 1, None)
        assert outcome.reason.endswith(os.strerror(number))
    assert descriptors() == before


async def test_shortage_waits_for_a_command_of_ours(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sshfan_async.process.spawn_gate._PATIENCE", 0.0)
    go_on = tmp_path / "go on"
    ssh = await known(stand_in(f'case " $* " in *" web00 "*) until [ -e "{go_on}" ]; do sleep 0.01; done;; esac'))
    run, calls = Watched(hosts(2), ssh, fanout=2), 0

    def is_short(call: int) -> bool:
        nonlocal calls
        calls = call
        return call > 0 and not run.outcomes

    failing(monkeypatch, errno.EAGAIN, is_short)
    running = asyncio.create_task(run.supervisor.run())
    await until(lambda: calls > 2)
    go_on.touch()
    await running
    assert [(outcome.status, outcome.attempts) for outcome in run.outcomes] == [(Status.OK, 1)] * 2


@pytest.mark.parametrize("end", ["stop", "deadline"])
async def test_host_that_waits_for_room_here_is_not_run_if_the_run_ends(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    ssh, calls = await known(stand_in('case " $* " in *" web "*) exit;; esac; exec sleep 60')), 0

    def is_short(call: int) -> bool:
        nonlocal calls
        calls = call
        return call > 0

    run = Watched(hosts(2), ssh, fanout=2, kill_after=1, deadline=0.3 if end == "deadline" else None)
    failing(monkeypatch, errno.EAGAIN, is_short)
    running = asyncio.create_task(run.supervisor.run())
    await until(lambda: calls > 1)
    if end == "stop":
        run.supervisor.stop()
    await running
    first, second = sorted(run.outcomes, key=lambda outcome: outcome.host)
    assert first.status == ("cancelled" if end == "stop" else "timed_out")
    assert (second.status, second.sent) == (Status.NOT_RUN, False)
    assert second.clock == (None if end == "stop" else "deadline")


async def test_refusal_that_does_not_pass_is_not_tried_again(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = await known(stand_in("exit 0"))
    failing(monkeypatch, errno.EACCES, lambda call: True)
    outcome = (await fan_out("web", "true", retries=3, ssh=ssh))["web"]
    assert (outcome.status, outcome.attempts) == (Status.LOCAL, 1)


async def test_real_lack_of_descriptors_lowers_the_pace(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = await known(stand_in("exec sleep 0.5"))
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(BUDGET, "room", lambda: 10_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) + 30, hard))
    try:
        report = await fan_out(hosts(20), "true", retries=0, ssh=ssh)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert report.ok
    assert {outcome.attempts for outcome in report} == {1}
    assert descriptors() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who runs nothing else")
@pytest.mark.parametrize("limit", [8, 9])
def test_real_lack_of_processes_lowers_the_pace(limit: int) -> None:
    # Before 3.12, asyncio also starts a thread for each child, which fails in its own way.
    script = """
import asyncio, os, resource, sys
from sshfan_async import Ssh, fan_out
async def main():
    ssh = Ssh(program=sys.argv[1])
    await fan_out("web", "true", ssh=ssh, timeout=0.1)
    os.setgid(54321)
    os.setuid(54321)
    resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[2]),) * 2)
    report = await fan_out([f"web{n}" for n in range(20)], "true", ssh=ssh, retries=0, timeout=0.2)
    print(len(report), *sorted({each.status.value for each in report}))
asyncio.run(main())
"""
    root = os.path.dirname(os.path.dirname(sshfan_async.__file__))
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        program = os.path.join(directory, "ssh")
        with open(program, "w", encoding="ascii") as file:
            file.write('#!/bin/sh\n[ "$1" = -V ] || exec sleep 60\n')
        os.chmod(program, 0o755)
        ran = subprocess.run(
            [sys.executable, "-c", script, program, str(limit)],
            check=False,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": root, "PATH": os.environ["PATH"]},
        )
    assert ran.stderr == ""
    assert ran.stdout == "20 timed_out\n"


async def test_program_without_an_interpreter_is_local(tmp_path: Path) -> None:
    path = tmp_path / "ssh"
    path.write_text("#!/nowhere/interpreter\n")
    path.chmod(0o755)
    report = await fan_out(hosts(2), "true", ssh=Ssh(program=path))
    assert [(outcome.status, outcome.sent) for outcome in report] == [(Status.LOCAL, False)] * 2
    assert "cannot start" in report["web00"].reason


async def test_program_that_vanishes_is_local(stand_in: Callable[..., Ssh]) -> None:
    ssh = await known(stand_in("exit 0"))
    os.unlink(ssh.program)
    report = await fan_out(hosts(2), "true", ssh=ssh)
    assert {outcome.status for outcome in report} == {Status.LOCAL}


@pytest.fixture
def ignored_children() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("ignored_children")
def test_ignored_exit_codes_are_local_and_nothing_is_sent(
    stand_in: Callable[..., Ssh], new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    ssh = stand_in(f"touch {tmp_path}/started")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        report = runner.run(fan_out(hosts(2), "true", ssh=ssh, retries=0))
    assert [(outcome.status, outcome.sent) for outcome in report] == [(Status.LOCAL, False)] * 2
    assert {outcome.reason for outcome in report} == {
        "SIGCHLD is ignored in this process, so no exit code reaches it: "
        "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first"
    }
    assert not (tmp_path / "started").exists()


async def test_standard_input_that_cannot_be_read_is_named() -> None:
    with open("/proc/self/mem", "rb") as unreadable:
        report = await fan_out(hosts(2), "true", stdin=unreadable)
    assert {outcome.status for outcome in report} == {Status.LOCAL}
    assert report["web00"].reason == "cannot start 'ssh': its standard input cannot be read: Input/output error"


# stopping


async def test_stop_ends_what_runs_and_starts_nothing_more(stand_in: Callable[..., Ssh], tmp_path: Path) -> None:
    started = tmp_path / "started"
    run = Watched(["web1", "web2"], stand_in(f"touch {started}; exec sleep 60"), fanout=1)
    running = asyncio.create_task(run.supervisor.run())
    await until(started.exists)
    run.supervisor.stop()
    await running
    web1, web2 = sorted(run.outcomes, key=lambda outcome: outcome.host)
    assert (web1.status, web1.sent, web1.attempts, web1.clock) == (Status.CANCELLED, True, 1, None)
    assert web1.reason.endswith(" s in run")
    assert (web2.status, web2.sent, web2.attempts, web2.clock) == (Status.NOT_RUN, False, 0, None)
    assert "run was stopped" in web2.reason


async def test_hosts_whose_turn_never_comes_do_not_wait_for_those_that_are_ended(
    stand_in: Callable[..., Ssh], tmp_path: Path
) -> None:
    started = tmp_path / "started"
    ssh = stand_in(f"trap '' TERM; touch {started}; while :; do sleep 60; done")
    run = Watched(["web1", "web2"], ssh, fanout=1, kill_after=0.5)
    running = asyncio.create_task(run.supervisor.run())
    await until(started.exists)
    run.supervisor.stop()
    await until(lambda: run.outcomes)
    assert [outcome.host for outcome in run.outcomes] == ["web2"]
    assert not running.done()
    await running


async def test_stop_at_any_turn_of_the_loop_gives_one_outcome_each(stand_in: Callable[..., Ssh]) -> None:
    ssh = await known(stand_in('case " $* " in *" web "*) exit;; esac; exec sleep 60'))
    for turns in range(60):
        run = Watched(hosts(4), ssh, fanout=2)
        running = asyncio.create_task(run.supervisor.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        run.supervisor.stop()
        async with asyncio.timeout(10):
            await running
        assert sorted(outcome.host for outcome in run.outcomes) == hosts(4)
        for outcome in run.outcomes:
            launched = outcome.started_at is not None
            assert (outcome.status, outcome.attempts) == (("cancelled", 1) if launched else ("not_run", 0))


async def test_native_cancellation_at_any_turn_gives_one_outcome_each(stand_in: Callable[..., Ssh]) -> None:
    ssh = await known(stand_in('case " $* " in *" web "*) exit;; esac; exec sleep 60'))
    for turns in range(1, 60):  # a task that never ran cannot report anything
        others = asyncio.all_tasks()
        run = Watched(hosts(4), ssh, fanout=2)
        running = asyncio.create_task(run.supervisor.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - others:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await running
        assert sorted(outcome.host for outcome in run.outcomes) == hosts(4)


async def test_stop_during_the_wait_for_another_try_keeps_the_last_attempt(
    fleet: SshdFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.engine.pacing._BACK_OFF", 30)
    with listening(hang_up) as listener:
        fleet.add_host("drops", options={"Port": str(listener.port)})
        run = Watched(["drops"], fleet.ssh)
        running = asyncio.create_task(run.supervisor.run())
        await until(lambda: any(host._backing_off for host in run.supervisor._hosts))
        run.supervisor.stop()
        await running
    (outcome,) = run.outcomes
    assert (outcome.status, outcome.attempts) == (Status.DROPPED, 1)


# other ways to get ssh's log


async def test_log_by_fifo_tells_the_same_and_leaves_nothing(
    fleet: SshdFleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await known(fleet.ssh)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sshfan_async.engine.supervisor.LogPipes", lambda: LogPipes(anonymous=False))
    fleet.add_host("closed", options={"Port": "1"})
    before = descriptors()
    report = await fan_out(["node001", "node002", "closed"], "exit 3", ssh=fleet.ssh)
    assert [outcome.status for outcome in report] == ["failed", "failed", "unreachable"]
    assert [outcome.sent for outcome in report] == [True, True, False]
    assert report["node001"].phases.auth is not None
    assert list(tmp_path.iterdir()) == []
    assert descriptors().keys() <= before.keys()


async def test_old_style_log_tells_the_same(fleet: SshdFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    # LogLevel=DEBUG1, as for a client before 8.5.
    monkeypatch.setattr("sshfan_async.process.client.Client.log_style", "debug1")
    outcome = (await fan_out("node001", "echo own >&2; exit 3", ssh=fleet.ssh))["node001"]
    assert (outcome.status, outcome.exit_code, outcome.sent, outcome.stderr) == ("failed", 3, True, b"own\n")


# a drain


async def test_a_drain_lets_those_in_flight_end_and_starts_no_other(
    stand_in: Callable[..., Ssh], tmp_path: Path
) -> None:
    # `a` ends when the other host is in flight; the other host ends when the run is drained.
    wait = f"until [ -e {tmp_path}/$awaited ]; do sleep 0.01; done"
    both = f"case $host in a) awaited=b;; *) awaited=open; touch {tmp_path}/$host;; esac; {wait}"
    ssh = stand_in(f'for word; do [ "$last" = -- ] && host=$word; last=$word; done; {both}')
    outcomes: dict[str, Outcome] = {}

    def emit(event: Event) -> None:
        if isinstance(event, HostFinished):
            outcomes[event.outcome.host] = event.outcome
            if event.outcome.host == "a":
                supervisor.drain()
                (tmp_path / "open").touch()

    supervisor = Supervisor(checked_run(HOSTS, "true", fanout=2, ssh=ssh), emit)
    await supervisor.run()

    statuses = [outcomes[host].status for host in HOSTS]
    assert statuses == [Status.OK, Status.OK, Status.NOT_RUN, Status.NOT_RUN]


async def test_a_drain_because_of_an_outcome_comes_before_the_next_host(stand_in: Callable[..., Ssh]) -> None:
    started = []

    def emit(event: Event) -> None:
        if isinstance(event, HostFinished):
            started.append(event.outcome.attempts)
            supervisor.drain()

    supervisor = Supervisor(checked_run(HOSTS, "true", fanout=1, ssh=stand_in("exit 1")), emit)
    await supervisor.run()

    assert started == [1, 0, 0, 0]


# many targets that are not launched


async def test_targets_that_are_not_launched_end_a_few_hundred_in_one_turn(stand_in: Callable[..., Ssh]) -> None:
    run = Watched(hosts(2000), stand_in("exit 0"))
    run.supervisor.stop()
    async with Turns() as turns:
        task = asyncio.create_task(run.supervisor.run())
        most = 0
        while not task.done():
            before = len(run.outcomes)
            turn = turns.number
            await asyncio.sleep(0)
            assert turns.number <= turn + 1
            most = max(most, len(run.outcomes) - before)
    assert [outcome.host for outcome in run.outcomes] == hosts(2000)
    assert 0 < most <= 500


@pytest.mark.parametrize("times", [1, 50])
async def test_cancellation_while_they_end_loses_no_outcome(stand_in: Callable[..., Ssh], times: int) -> None:
    run = Watched(hosts(2000), stand_in("exit 0"))
    run.supervisor.stop()
    task = asyncio.create_task(run.supervisor.run())
    while not run.outcomes:
        await asyncio.sleep(0)
    assert len(run.outcomes) < 2000
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [outcome.host for outcome in run.outcomes] == hosts(2000)


async def test_deadline_loses_no_target_that_waits_for_a_slot(stand_in: Callable[..., Ssh]) -> None:
    run = Watched(hosts(6), stand_in("exec sleep 60"), fanout=2, deadline=0.5)
    await run.supervisor.run()
    assert sorted(outcome.host for outcome in run.outcomes) == hosts(6)
    assert [outcome.status for outcome in run.outcomes].count(Status.NOT_RUN) == 4
