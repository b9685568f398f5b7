"""However a run ends, it leaves nothing behind, here and at the hosts; what it must leave, it reports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest

from sshfan_async import HostPhase, Phase, Report, Status, events, fan_out, stream
from sshfan_async.testing import SshdFleet
from tests.support.marked import Mark
from tests.support.processes import children, descriptors, signal_servers, until, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def mark() -> Iterator[Mark]:
    mark = Mark()
    yield mark
    mark.kill()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directory for temporary files of each side."""
    return {side: tmp_path_factory.mktemp(side) for side in ("here", "there")}


@pytest.fixture(scope="module")
def fleet(places: dict[str, Path]) -> Iterator[SshdFleet]:
    options = {"KexAlgorithms": "curve25519-sha256", "SetEnv": f"HOME={places['there']} TMPDIR={places['there']}"}
    with SshdFleet(300, sshd_options=options) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def nothing_is_left(fleet: SshdFleet, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No descriptor, no temporary file, and no watchdog; `no_child_is_left` looks after the children."""
    monkeypatch.setenv("TMPDIR", str(places["here"]))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = descriptors()
    yield
    wait_until(lambda: watchdogs(fleet) == set(), "the watchdogs to leave")
    assert [*places["here"].iterdir(), *places["there"].iterdir()] == []
    assert len(descriptors()) <= len(before), f"{descriptors()} rather than {before}"


def cut(fleet: SshdFleet) -> None:
    """Cut all connections to the fleet, as if the hosts lost power."""
    signal_servers(fleet.sshd_pid, signal.SIGKILL)


def watchdogs(fleet: SshdFleet) -> set[int]:
    """Return the ids of the watchdogs at the fleet's hosts."""
    here = f" {fleet.port}\0".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        # PermissionError: a process of another user, who may run this suite too.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ProcessLookupError, PermissionError):
            if (entry / "cmdline").read_bytes().startswith(b"/bin/sh\0-c\0trap") and here in (
                entry / "environ"
            ).read_bytes():
                found.add(int(entry.name))
    return found


# on_stop="kill"

SHAPES = {
    "the command itself": "exec {0}",
    "a child": "{0}; echo",
    "a pipe": "{0} | cat | {0}",
    "a group of its own": "timeout 12345 {0}",
    "background jobs": "{0} & {0} & wait",
    "background jobs in groups of their own": "set -m; {0} & {0} & wait",
    "subshells": "( ( {0}; echo ) ); echo",
    "one that ignores TERM": "trap '' TERM; {0}; {0}",
    "one that catches TERM": "trap 'echo no' TERM; while :; do {0}; done",
    "one that starts more when told to end": "trap '{0} & {0} & wait' TERM; {0} & wait",
    "a stopped one": "kill -STOP $$; {0}",
    "one that closed its outputs": "exec >&- 2>&-; {0}",
    "one that writes without end": "yes & {0}",
}


async def ended_at_its_timeout(fleet: SshdFleet, shape: str, **settings: Any) -> tuple[object, ...]:
    """Stop a command soon after its start; return its outcome and how many of its processes are left."""
    mark = Mark()
    clocks: dict[str, Any] = {"timeout": 0.3, "kill_after": 0.3}
    (outcome,) = await fan_out("node001", shape.format(mark.sleep), max_output=0, ssh=fleet.ssh, **clocks, **settings)
    left = len(mark.processes())
    mark.kill()
    return outcome.status, outcome.clock, outcome.remote, left


async def test_timed_out_command_is_ended_with_all_it_started(fleet: SshdFleet) -> None:
    ended = await asyncio.gather(*(ended_at_its_timeout(fleet, shape) for shape in SHAPES.values()))
    assert dict(zip(SHAPES, ended, strict=True)) == dict.fromkeys(SHAPES, (Status.TIMED_OUT, "timeout", "ended", 0))


@pytest.mark.parametrize("hosts", [20, pytest.param(100, marks=pytest.mark.slow)])
async def test_timed_out_commands_are_ended(fleet: SshdFleet, mark: Mark, hosts: int) -> None:
    report = await fan_out(fleet.hosts[:hosts], f"{mark.sleep} | cat", timeout=0.5, ssh=fleet.ssh)
    assert {(each.status, each.remote) for each in report} == {(Status.TIMED_OUT, "ended")}
    assert mark.processes() == set()


@pytest.mark.parametrize("hosts", [20, pytest.param(100, marks=pytest.mark.slow)])
async def test_cancelled_commands_are_ended(fleet: SshdFleet, mark: Mark, hosts: int) -> None:
    running = asyncio.create_task(fan_out(fleet.hosts[:hosts], f"{mark.sleep} | cat", fanout=None, ssh=fleet.ssh))
    await until(lambda: len(mark.commands()) == hosts)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert mark.processes() == set()


async def test_commands_of_a_cancelled_scope_are_ended(fleet: SshdFleet, mark: Mark) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: fan_out(fleet.hosts[:3], f"{mark.sleep} | cat", ssh=fleet.ssh))
            await until(lambda: len(mark.commands()) == 3)
            scope.cancel()
    assert mark.processes() == set()


async def test_commands_of_a_stream_left_early_are_ended(fleet: SshdFleet, mark: Mark, tmp_path: Path) -> None:
    async with stream(fleet.hosts[:3], f"mkdir {tmp_path}/first || {mark.sleep}", ssh=fleet.ssh) as outcomes:
        async for outcome in outcomes:
            assert outcome.ok
            break
        await until(lambda: len(mark.commands()) == 2)
    assert mark.processes() == set()


async def test_commands_of_a_block_that_raises_are_ended(fleet: SshdFleet, mark: Mark) -> None:
    async def fail() -> None:
        async with stream(fleet.hosts[:3], mark.sleep, ssh=fleet.ssh):
            await until(lambda: len(mark.commands()) == 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert mark.processes() == set()


async def test_commands_are_ended_at_the_deadline(fleet: SshdFleet, mark: Mark) -> None:
    report = await fan_out(fleet.hosts[:3], f"{mark.sleep} | cat", deadline=1, ssh=fleet.ssh)
    assert {(each.status, each.clock, each.remote) for each in report} == {(Status.TIMED_OUT, "deadline", "ended")}
    assert mark.processes() == set()


async def test_command_is_ended_although_the_log_of_its_sending_is_not_read_yet(fleet: SshdFleet, mark: Mark) -> None:
    async with events("node001", mark.sleep, kill_after=3, ssh=fleet.ssh) as happenings:
        async for event in happenings:
            if isinstance(event, HostPhase) and event.phase is Phase.AUTH:
                wait_until(mark.commands)  # this blocks the loop, so nothing is read meanwhile
                break
    assert mark.processes() == set()


async def test_command_with_standard_input_is_ended(fleet: SshdFleet) -> None:
    shapes = ("{0}", "cat >/dev/null; {0}", "read -r x; {0}", "exec <&-; {0}", "cat - /dev/zero | {0}")
    cases = [(shape, size) for shape in shapes for size in (0, 1, 50_000)]
    ended = await asyncio.gather(*(ended_at_its_timeout(fleet, shape, stdin=bytes(size)) for shape, size in cases))
    assert dict(zip(cases, ended, strict=True)) == dict.fromkeys(cases, (Status.TIMED_OUT, "timeout", "ended", 0))


@pytest.mark.parametrize("size", [100_000, 5_000_000])
async def test_always_ends_a_command_that_leaves_much_input_unread(fleet: SshdFleet, mark: Mark, size: int) -> None:
    # The kill request is queued behind that input. The watchdog sees that the connection is gone, but cannot report.
    command = f"(trap '' TERM; {mark.sleep}) & {mark.sleep}"
    (outcome,) = await fan_out(
        "node001", command, stdin=bytes(size), on_stop="always", timeout=0.3, kill_after=0.2, ssh=fleet.ssh
    )
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
    await until(lambda: mark.processes() == set(), "the commands to be ended")


async def test_kill_claims_nothing_of_a_command_that_leaves_much_input_unread(fleet: SshdFleet, mark: Mark) -> None:
    # The kill request is queued behind that input, and the end of the connection is no kill request.
    (outcome,) = await fan_out(
        "node001", mark.sleep, stdin=bytes(5_000_000), timeout=0.3, kill_after=0.2, ssh=fleet.ssh
    )
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
    assert len(mark.commands()) == 1


async def test_nobody_waits_for_the_watchdog_of_an_ended_command(fleet: SshdFleet, mark: Mark) -> None:
    report = await fan_out(fleet.hosts[0], f"{mark.sleep} & exit 3", timeout=0.3, kill_after=60, ssh=fleet.ssh)
    assert [(each.status, each.phase) for each in report] == [(Status.TIMED_OUT, Phase.CLOSE)]
    assert "redirect that process's output" in report[fleet.hosts[0]].reason
    assert len(mark.commands()) == 1  # it holds the outputs open, so they had no end to wait for


async def test_what_left_the_session_survives(fleet: SshdFleet, mark: Mark) -> None:
    command = f"setsid {mark.sleep} >/dev/null 2>&1 & sleep 12345"
    report = await fan_out(fleet.hosts[0], command, timeout=0.3, ssh=fleet.ssh)
    assert [(each.status, each.remote) for each in report] == [(Status.TIMED_OUT, "ended")]
    assert len(mark.commands()) == 1


@pytest.mark.parametrize("on_stop", ["leave", "kill", "always"])
async def test_what_the_user_put_into_the_background_survives_a_normal_end(
    fleet: SshdFleet, mark: Mark, on_stop: Literal["leave", "kill", "always"]
) -> None:
    command = f"nohup {mark.sleep} >/dev/null 2>&1 </dev/null & echo started"
    report = await fan_out(fleet.hosts[:3], command, on_stop=on_stop, ssh=fleet.ssh)
    assert {(each.status, each.stdout, each.remote) for each in report} == {(Status.OK, b"started\n", "ended")}
    await until(lambda: len(mark.commands()) == 3, "all three to be there")


async def test_left_command_survives_and_is_said_to(fleet: SshdFleet, mark: Mark) -> None:
    report = await fan_out(fleet.hosts[:3], mark.sleep, timeout=0.3, on_stop="leave", ssh=fleet.ssh)
    assert {(each.status, each.remote) for each in report} == {(Status.TIMED_OUT, "left")}
    assert len(mark.commands()) == 3


@pytest.mark.parametrize("on_stop", ["leave", "kill"])
@pytest.mark.parametrize("stdin", [None, bytes(60_000)], ids=["no-stdin", "stdin"])
async def test_command_whose_connection_is_cut_runs_to_its_end(
    fleet: SshdFleet, tmp_path: Path, on_stop: Literal["leave", "kill"], stdin: bytes | None
) -> None:
    os.mkfifo(tmp_path / "release")
    command = f"touch {tmp_path}/begun; read -r x <{tmp_path}/release; echo $x >{tmp_path}/done"
    running = asyncio.create_task(fan_out(fleet.hosts[0], command, stdin=stdin, on_stop=on_stop, ssh=fleet.ssh))
    await until((tmp_path / "begun").exists)
    cut(fleet)
    report = await running
    assert [(each.status, each.sent, each.remote) for each in report] == [(Status.LOST, True, "unknown")]
    await until(lambda: watchdogs(fleet) == set(), "the watchdog to leave")
    (tmp_path / "release").write_text("on\n")
    await until(lambda: (tmp_path / "done").exists() and (tmp_path / "done").read_text() == "on\n")


# on_stop="always"


@pytest.mark.parametrize("hosts", [5, pytest.param(50, marks=pytest.mark.slow)])
async def test_always_ends_the_command_when_its_connection_is_cut(fleet: SshdFleet, mark: Mark, hosts: int) -> None:
    command = f"{mark.sleep} | cat"
    running = asyncio.create_task(
        fan_out(fleet.hosts[:hosts], command, on_stop="always", kill_after=1, fanout=None, ssh=fleet.ssh)
    )
    await until(lambda: len(mark.commands()) == hosts)
    cut(fleet)
    assert {each.status for each in await running} == {Status.LOST}
    await until(lambda: mark.processes() == set(), "the commands to be ended")


async def test_always_ends_the_command_when_ssh_is_killed(fleet: SshdFleet, mark: Mark) -> None:
    before = children()
    running = asyncio.create_task(fan_out(fleet.hosts[0], mark.sleep, on_stop="always", ssh=fleet.ssh))
    await until(mark.commands)
    for pid in children() - before:
        os.kill(pid, signal.SIGKILL)
    assert {each.status for each in await running} == {Status.LOST}
    await until(lambda: mark.processes() == set(), "the command to be ended")


# the controller gets SIGKILL


@contextmanager
def controller(fleet: SshdFleet, command: str, hosts: int, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run `fan_out` in a child process, which is gone at the end of the block."""
    script = f"""
    import asyncio
    from sshfan_async import Ssh, fan_out
    hosts = {fleet.hosts[:hosts]!r}
    asyncio.run(fan_out(hosts, {command!r}, ssh=Ssh(config_file={str(fleet.ssh_config)!r}), **{settings!r}))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("hosts", [20, pytest.param(50, marks=pytest.mark.slow)])
def test_always_ends_the_commands_of_a_killed_controller(fleet: SshdFleet, mark: Mark, hosts: int) -> None:
    command = f"{mark.sleep} | cat"
    with controller(fleet, command, hosts, on_stop="always", kill_after=1, fanout=None) as process:
        wait_until(lambda: len(mark.commands()) == hosts)
        process.kill()
        wait_until(lambda: mark.processes() == set(), "the commands and their ssh to end")


@pytest.mark.parametrize("on_stop", ["leave", "kill"])
def test_ssh_of_a_killed_controller_ends_with_its_command(
    fleet: SshdFleet, mark: Mark, tmp_path: Path, on_stop: str
) -> None:
    begun, release = tmp_path / "begun", tmp_path / "release"
    command = f": {mark.sleep}; echo >>{begun}; until [ -e {release} ]; do sleep 0.02; done; exit"
    with controller(fleet, command, 5, on_stop=on_stop) as process:
        wait_until(lambda: begun.exists() and len(begun.read_text()) == 5)
        process.kill()
        process.wait()
        assert len(mark.processes()) >= 5
        release.touch()
        wait_until(lambda: mark.processes() == set(), "the ssh of the ended commands to end")


@pytest.mark.parametrize("on_stop", ["leave", "kill"])
def test_ssh_of_a_killed_controller_ends_when_its_command_writes(fleet: SshdFleet, mark: Mark, on_stop: str) -> None:
    with controller(fleet, f": {mark.sleep}; while sleep 0.1; do echo; done", 5, on_stop=on_stop) as process:
        wait_until(lambda: len(mark.processes()) >= 10)
        process.kill()
        wait_until(lambda: mark.processes() == set(), "ssh to find nobody reading, and the command too")


# exit codes stay true


@pytest.mark.parametrize("kills", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("on_stop", ["leave", "kill"])
async def test_no_moment_of_a_kill_falsifies_an_exit_code(
    fleet: SshdFleet, on_stop: Literal["leave", "kill"], kills: int
) -> None:
    moments, limiter = random.Random(kills), anyio.CapacityLimiter(16)

    async def one(host: str) -> Report:
        clocks: dict[str, Any] = {
            "timeout": moments.choice([moments.uniform(0.001, 0.05), moments.uniform(0.001, 0.5)]),
            "connect_timeout": moments.choice([10, 10, moments.uniform(0.001, 0.1)]),
        }
        return await fan_out(
            host, "sleep 0.01; exit 3", fanout=limiter, on_stop=on_stop, ssh=fleet.ssh, retries=0, **clocks
        )

    reports = await asyncio.gather(*(one(fleet.hosts[number % 300]) for number in range(kills)))
    endings = Counter((each.status, each.exit_code) for report in reports for each in report)
    assert endings.keys() == {(Status.FAILED, 3), (Status.TIMED_OUT, None)}
