"""No thread can be started, or memory runs out: each host's outcome says so, or the caller gets one error."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from sshfan_async import Fleet, FleetUnavailable, Status, SyncFleet, events, fan_out, run, stream
from sshfan_async.engine.timeouts import Timeouts
from sshfan_async.event import HostFinished
from sshfan_async.fleet.command import HostCommand
from sshfan_async.sshlog.log import SshLog
from sshfan_async.stdio.capture import Capture
from sshfan_async.stdio.source import open_source
from tests.support.cli_program import LIMIT, PROGRAM, environment
from tests.support.processes import descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sshfan_async import Outcome, Report
    from sshfan_async.testing import SshdFleet

NO_THREAD = """
import threading
start = threading.Thread.start
def refuse(self):
    if "waitpid" in self.name:  # before Python 3.12, asyncio has a thread for each child
        return start(self)
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
"""
HOSTS = ["node001", "node002"]


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)  # put back at the end
    exec(NO_THREAD, {})


def told(outcomes: list[Outcome] | Report) -> list[tuple[Status, bool, bool]]:
    return [(each.status, each.sent, "no thread can be started" in each.reason) for each in outcomes]


REFUSED = 2 * [(Status.LOCAL, False, True)]


@pytest.mark.usefixtures("no_thread")
async def test_run_needs_no_thread(fleet: SshdFleet) -> None:
    assert (await fan_out(HOSTS, "true", ssh=fleet.ssh)).ok
    async with Fleet(HOSTS, ssh=fleet.ssh) as opened:
        assert (await opened.run("true")).ok


@pytest.mark.usefixtures("no_thread")
def test_synchronous_run_needs_no_thread(fleet: SshdFleet) -> None:
    assert [each["status"] for each in run(HOSTS, "true", ssh=fleet.ssh)["result"].values()] == 2 * ["success"]


@pytest.mark.usefixtures("no_thread")
async def test_synchronous_run_in_a_loop_says_that_it_cannot_start_its_thread(fleet: SshdFleet) -> None:
    results = run([*HOSTS, "-bad"], "true", ssh=fleet.ssh)["result"].values()
    assert [each["status"] for each in results] == 3 * ["fail"]
    assert ["no thread can be started" in each["err"] for each in results] == [True, True, False]


@pytest.mark.parametrize("module", ["fan_out", "Fleet"])
def test_first_run_of_a_process_needs_no_thread(fleet: SshdFleet, module: str) -> None:
    script = f"""
import asyncio
from sshfan_async import Fleet, Ssh, fan_out
ssh = Ssh(config_file={str(fleet.ssh_config)!r})
async def with_fan_out():
    return await fan_out("node001", "echo here", ssh=ssh)
async def with_Fleet():
    async with Fleet("node001", ssh=ssh) as fleet:
        return await fleet.run("echo here")
{NO_THREAD}
print(asyncio.run(with_{module}()).outcomes[0].stdout)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, env=environment(), timeout=LIMIT
    )
    assert (done.stdout, done.stderr) == (b"b'here\\n'\n", b"")


@pytest.mark.usefixtures("no_thread")
def test_run_in_a_foreign_loop_says_that_it_cannot_start_its_thread(fleet: SshdFleet) -> None:
    async def all_doors() -> None:
        assert told(await fan_out(HOSTS, "true", ssh=fleet.ssh)) == REFUSED
        async with stream(HOSTS, "true", ssh=fleet.ssh) as outcomes:
            assert told([outcome async for outcome in outcomes]) == REFUSED
        async with events(HOSTS, "true", ssh=fleet.ssh) as happenings:
            ended = [event.outcome async for event in happenings if isinstance(event, HostFinished)]
        assert told(ended) == REFUSED
        with pytest.raises(FleetUnavailable, match="no thread can be started"):
            async with Fleet(HOSTS, ssh=fleet.ssh):
                pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_doors())


@pytest.mark.usefixtures("no_thread")
def test_sync_fleet_says_that_it_cannot_start_its_thread(fleet: SshdFleet) -> None:
    with pytest.raises(FleetUnavailable, match="no thread can be started"), SyncFleet(HOSTS, ssh=fleet.ssh):
        pass


@pytest.mark.usefixtures("no_thread")
async def test_pipe_that_no_thread_can_read_is_said(fleet: SshdFleet) -> None:
    readable, writable = os.pipe()
    os.close(writable)
    with open(readable, "rb") as pipe:
        before = descriptors()
        assert told(await fan_out(HOSTS, "cat", stdin=pipe, ssh=fleet.ssh)) == REFUSED
        async with Fleet(HOSTS, ssh=fleet.ssh) as opened:
            assert told(await opened.run("cat", stdin=pipe)) == REFUSED
        assert descriptors().keys() <= before.keys()


async def test_pipe_is_closed_if_the_caller_is_cancelled_before_its_thread_begins() -> None:
    readable, writable = os.pipe()
    os.close(writable)
    with open(readable, "rb") as pipe:
        before = descriptors()
        opening = asyncio.ensure_future(open_source(pipe))
        asyncio.get_running_loop().call_soon(opening.cancel)
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert descriptors().keys() <= before.keys()


class Broken(io.RawIOBase):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("broken"), RuntimeError("broken"), MemoryError("broken")])
async def test_error_of_a_stream_is_the_reason_of_each_host(fleet: SshdFleet, error: Exception) -> None:
    stdin: Any = Broken(error)
    report = await fan_out(HOSTS, "cat", stdin=stdin, ssh=fleet.ssh)
    assert [(each.status, each.sent) for each in report] == 2 * [(Status.LOCAL, False)]
    assert all(f"{type(error).__name__}: broken" in each.reason for each in report)


def test_command_line_says_that_it_cannot_start_its_thread(fleet: SshdFleet, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_THREAD)
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])

    def sshfan(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments[:-1], "--ssh-config", str(fleet.ssh_config), "-w", "node001", *arguments[-1:]],
            check=False, capture_output=True, text=True, timeout=LIMIT, env=environment(PYTHONPATH=path),
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    ran = sshfan("true")
    assert (ran.returncode, ran.stderr.count("\n")) == (3, 1)
    assert "no thread can be started" in ran.stderr
    shell = sshfan("shell", "-f1")
    assert (shell.returncode, shell.stderr.count("\n")) == (2, 1)
    assert "no thread can be started" in shell.stderr
    assert sshfan("--dry-run", "true").returncode == 0


# errors of our own


@pytest.fixture
def failing_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the first call of a method raise MemoryError."""
    place, name = request.param
    method, calls = getattr(place, name), []

    def fail_once(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            raise MemoryError("out of memory")
        return method(*arguments, **options)

    monkeypatch.setattr(place, name, fail_once)
    yield
    assert calls


@pytest.mark.usefixtures("failing_once")
@pytest.mark.parametrize("failing_once", [(Capture, "value"), (Timeouts, "arm"), (SshLog, "end")], indirect=True)
async def test_error_of_our_own_is_the_outcome_of_its_host_alone(fleet: SshdFleet) -> None:
    report = await fan_out(HOSTS, "echo here", timeout=20, kill_after=0.3, ssh=fleet.ssh)
    assert sorted(each.status for each in report) == [Status.LOCAL, Status.OK]
    (failed,) = report.not_ok
    assert "MemoryError: out of memory" in failed.reason
    assert (failed.sent, failed.stdout) == (True, b"")


@pytest.mark.usefixtures("failing_once")
@pytest.mark.parametrize("failing_once", [(Capture, "value")], indirect=True)
async def test_lost_output_of_a_fleet_is_told(fleet: SshdFleet) -> None:
    async with Fleet(HOSTS, ssh=fleet.ssh) as opened:
        report = await opened.run("echo here")
    assert sorted(each.status for each in report) == [Status.LOCAL, Status.OK]
    assert "its output is lost: MemoryError" in report.not_ok[0].reason


@pytest.mark.usefixtures("failing_once")
@pytest.mark.parametrize("failing_once", [(HostCommand, "_request_kill")], indirect=True)
@pytest.mark.parametrize("limits", [{"timeout": 0.3}, {"deadline": 0.3}])
async def test_stop_that_fails_in_a_fleet_is_told(fleet: SshdFleet, limits: dict[str, Any]) -> None:
    async with Fleet(HOSTS, ssh=fleet.ssh) as opened:
        report = await opened.run("exec sleep 60", **limits, kill_after=0.3)
    assert [each.status for each in report] == 2 * [Status.TIMED_OUT]
    assert sum("internal error: MemoryError: out of memory" in each.reason for each in report) == 1
