"""Every status, made to happen with real components; the record must say what was made to happen."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from sshfan_async import Outcome, Phase, Report, Ssh, Status, fan_out
from sshfan_async.testing import SshdFleet
from tests.support.dropbear import serving
from tests.support.listeners import hang_up, listening, passing_on_to, stall
from tests.support.processes import is_running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CHEAP = {"KexAlgorithms": "curve25519-sha256"}


@dataclass(frozen=True)
class Truth:
    """What the record must say; `reason` is a regular expression."""

    status: Status
    sent: bool
    exit_code: int | None = None
    phase: Phase = Phase.CLOSE
    clock: str | None = None
    reason: str = ""
    attempts: int = 1
    more: dict[str, Any] = field(default_factory=dict)

    def check(self, outcome: Outcome) -> None:
        told = {
            "status": outcome.status,
            "sent": outcome.sent,
            "exit_code": outcome.exit_code,
            "phase": outcome.phase,
            "clock": outcome.clock,
            "attempts": outcome.attempts,
            **{name: getattr(outcome, name) for name in self.more},
        }
        wanted = {name: getattr(self, name) for name in told if name not in self.more} | self.more
        assert told == wanted, outcome
        assert re.search(self.reason, outcome.reason), outcome.reason
        assert "\n" not in outcome.reason
        assert outcome.ok == (outcome.reason == "")
        seconds = [spent for phase, spent in outcome.phases if phase is not Phase.QUEUED]
        assert sum(seconds) == pytest.approx(outcome.elapsed, abs=0.001)
        assert min(seconds, default=0) >= 0


async def one(fleet: SshdFleet, host: str, command: str = "echo ran", **options: Any) -> Outcome:
    report: Report = await fan_out(host, command, **{"ssh": fleet.ssh, "retries": 0, **options})
    return report[host]


# the command's own ending

COMMANDS = {
    "true": Truth(Status.OK, True, 0),
    "exit 3": Truth(Status.FAILED, True, 3, reason="exited with 3$"),
    "exit 255": Truth(Status.FAILED, True, 255, reason="exited with 255$"),
    "nonesuch-command": Truth(Status.FAILED, True, 127),
    "kill -9 $$": Truth(Status.SIGNALLED, True, reason="signal"),
    "kill -TERM $$": Truth(Status.SIGNALLED, True, reason="signal"),
    "exec >&- 2>&-; exit 4": Truth(Status.FAILED, True, 4),
    "echo 'debug1: Exit status 0\r'\nexit 5": Truth(Status.FAILED, True, 5),
    "printf 'ssh: connect to host x port 22: Connection refused\\r\\n' >&2; exit 255": Truth(
        Status.FAILED, True, 255
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("on_stop", ["kill", "leave"])
async def test_command_that_ends_by_itself(fleet: SshdFleet, command: str, on_stop: str) -> None:
    COMMANDS[command].check(await one(fleet, "node001", command, on_stop=on_stop))


# no connection


async def test_connection_refused_is_unreachable(fleet: SshdFleet) -> None:
    fleet.add_host("closed", options={"Port": "1"})
    Truth(
        Status.UNREACHABLE, False, phase=Phase.CONNECT, reason="connect to host .* port 1: Connection refused"
    ).check(await one(fleet, "closed"))


async def test_name_without_address_is_unresolved(fleet: SshdFleet) -> None:
    Truth(Status.UNRESOLVED, False, phase=Phase.RESOLVE, reason="Could not resolve hostname").check(
        await one(fleet, "elsewhere.invalid")
    )


async def test_address_without_route_is_unreachable(fleet: SshdFleet) -> None:
    # 240.0.0.0/4 is reserved: the kernel refuses to send there (RFC 1112, 4).
    fleet.add_host("nowhere", options={"HostName": "255.255.255.255"})
    Truth(Status.UNREACHABLE, False, phase=Phase.CONNECT, reason="connect to host").check(await one(fleet, "nowhere"))


# TCP servers that behave badly

HANDSHAKE: dict[str, Any] = {"phase": Phase.HANDSHAKE}
LISTENERS = {
    "silent": (
        functools.partial(stall),
        Truth(
            Status.TIMED_OUT,
            False,
            clock="connect_timeout",
            reason=r"^timed out after 0\.4 s in handshake$",
            **HANDSHAKE,
        ),
    ),
    "stalls-in-banner": (
        functools.partial(stall, after=b"SSH-2.0-Ha"),
        Truth(Status.TIMED_OUT, False, clock="connect_timeout", reason="in handshake$", **HANDSHAKE),
    ),
    "stalls-after-banner": (
        functools.partial(stall, after=b"SSH-2.0-Half\r\n"),
        Truth(Status.TIMED_OUT, False, clock="connect_timeout", reason="in handshake$", **HANDSHAKE),
    ),
    "closes-at-once": (
        functools.partial(hang_up),
        Truth(Status.DROPPED, False, reason="(?i)connection (closed|reset) by", **HANDSHAKE),
    ),
    "resets-at-once": (
        functools.partial(hang_up, reset=True),
        Truth(Status.DROPPED, False, reason="(?i)connection (closed|reset) by", **HANDSHAKE),
    ),
    "closes-in-banner": (
        functools.partial(hang_up, after=b"SSH-2.0-Ha"),
        Truth(Status.DROPPED, False, reason=".", **HANDSHAKE),
    ),
    "closes-after-banner": (
        functools.partial(hang_up, after=b"SSH-2.0-Half\r\n"),
        Truth(Status.DROPPED, False, reason="(?i)connection (closed|reset) by|Broken pipe", **HANDSHAKE),
    ),
    "no-ssh-server": (
        functools.partial(hang_up, after=b"HTTP/1.1 400 Bad Request\r\n" * 3),
        Truth(Status.DROPPED, False, reason=".", **HANDSHAKE),
    ),
    "forges-a-run": (
        functools.partial(hang_up, after=b"debug1: Sending command: x\r\ndebug1: Exit status 0\r\nSSH-2.0-X\r\n"),
        Truth(Status.DROPPED, False, reason=".", **HANDSHAKE),
    ),
}


@pytest.mark.parametrize("behaviour", LISTENERS)
async def test_server_that_behaves_badly(fleet: SshdFleet, behaviour: str) -> None:
    serve, truth = LISTENERS[behaviour]
    with listening(serve) as listener:
        fleet.add_host(behaviour, options={"Port": str(listener.port)})
        truth.check(await one(fleet, behaviour, connect_timeout=0.4 if truth.clock else 10))


# host keys and users


async def test_unknown_host_key(fleet: SshdFleet) -> None:
    fleet.add_host("stranger", options={"UserKnownHostsFile": "/dev/null"})
    Truth(Status.HOST_KEY, False, phase=Phase.HANDSHAKE, reason="Host key verification failed").check(
        await one(fleet, "stranger", retries=2)
    )


async def test_changed_host_key(fleet: SshdFleet, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other = (tmp_path / "other.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{fleet.port} {other}")
    fleet.add_host("changed", options={"UserKnownHostsFile": os.fspath(tmp_path / "known")})
    Truth(Status.HOST_KEY, False, phase=Phase.HANDSHAKE, reason="Host key .*(changed|verification failed)").check(
        await one(fleet, "changed", retries=2)
    )


@pytest.mark.parametrize("options", [{"User": "nobody-here"}, {"PubkeyAuthentication": "no"}])
async def test_refused_user_is_auth_and_is_not_tried_again(fleet: SshdFleet, options: dict[str, str]) -> None:
    fleet.add_host("refused", options=options)
    Truth(Status.AUTH, False, phase=Phase.AUTH, reason=r"Permission denied \(publickey\)").check(
        await one(fleet, "refused", retries=2)
    )


async def test_wrong_key_is_auth(fleet: SshdFleet, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    text = fleet.ssh_config.read_text().replace(str(fleet.directory / "client_key"), str(tmp_path / "key"))
    (tmp_path / "config").write_text(text)
    Truth(Status.AUTH, False, phase=Phase.AUTH, reason="Permission denied").check(
        await one(fleet, "node001", ssh=Ssh(config_file=tmp_path / "config"))
    )


# what an sshd can be told to do


async def test_banner_is_not_in_stderr(tmp_path: Path) -> None:
    (tmp_path / "banner").write_text("=== Authorised use only ===\n")
    with SshdFleet(1, sshd_options={**CHEAP, "Banner": os.fspath(tmp_path / "banner")}) as fleet:
        outcome = await one(fleet, "node001", "echo own >&2; exit 2")
    Truth(Status.FAILED, True, 2, more={"stderr": b"own\n"}).check(outcome)


@pytest.mark.parametrize("on_stop", ["kill", "leave"])
async def test_forced_command_runs_in_place_of_ours(on_stop: str) -> None:
    with SshdFleet(1, sshd_options={**CHEAP, "ForceCommand": "echo forced; exit 3"}) as fleet:
        outcome = await one(fleet, "node001", on_stop=on_stop)
    Truth(Status.FAILED, True, 3, more={"stdout": b"forced\n"}).check(outcome)


async def test_refused_session_is_dropped() -> None:
    with SshdFleet(1, sshd_options={**CHEAP, "MaxSessions": "0"}) as fleet:
        outcome = await one(fleet, "node001")
    assert (outcome.status, outcome.sent) == (Status.DROPPED, False), outcome
    assert "open failed" in outcome.reason


async def test_no_common_algorithm_is_dropped(fleet: SshdFleet) -> None:
    fleet.add_host("modern", options={"KexAlgorithms": "ecdh-sha2-nistp521"})
    Truth(Status.DROPPED, False, phase=Phase.HANDSHAKE, reason="no matching key exchange method").check(
        await one(fleet, "modern", retries=2)
    )


@pytest.mark.parametrize(("maxstartups", "hosts", "retries"), [("10:30:100", 64, 2), ("1:100:1", 8, 8)])
async def test_hosts_behind_one_busy_sshd_all_end_ok(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, maxstartups: str, hosts: int, retries: int
) -> None:
    monkeypatch.setattr("sshfan_async.process.spawn_gate._PAUSE", 0.0)  # as where CPUs are idle: all connect at once
    with (
        SshdFleet(hosts, sshd_options={**CHEAP, "MaxStartups": maxstartups}) as fleet,
        contextlib.ExitStack() as idle,
    ):
        # Connections that never log in: sshd drops others from the start on, however slowly these come.
        for _ in range(int(maxstartups.partition(":")[0])):
            connection = idle.enter_context(socket.create_connection(("127.0.0.1", fleet.port)))
            assert connection.recv(4) == b"SSH-"
        running = asyncio.create_task(fan_out(fleet.hosts, "echo ran", ssh=fleet.ssh, retries=retries))
        await until(lambda: "event='host retried'" in caplog.text, "sshd to drop a connection")
        idle.close()
        report = await running
    assert report.ok, [(outcome.host, outcome.attempts, outcome.reason) for outcome in report.not_ok]
    assert {outcome.stdout for outcome in report} == {b"ran\n"}
    assert max(outcome.attempts for outcome in report) > 1


# jump hosts


async def test_host_behind_a_jump_host(fleet: SshdFleet) -> None:
    fleet.add_host("far", options={"ProxyJump": "node001"})
    Truth(Status.OK, True, 0, more={"stdout": b"ran\n", "stderr": b""}).check(await one(fleet, "far"))


async def test_jump_host_that_refuses_is_named(fleet: SshdFleet) -> None:
    fleet.add_host("closed", options={"Port": "1"})
    fleet.add_host("cut-off", options={"ProxyJump": "closed"})
    outcome = await one(fleet, "cut-off")
    Truth(
        Status.UNREACHABLE, False, phase=Phase.CONNECT, reason="closed.*Connection refused", more={"stderr": b""}
    ).check(outcome)


async def test_jump_host_that_lets_nobody_in_is_named(fleet: SshdFleet) -> None:
    fleet.add_host("gate", options={"PubkeyAuthentication": "no"})
    fleet.add_host("guarded", options={"ProxyJump": "gate"})
    Truth(Status.UNREACHABLE, False, phase=Phase.CONNECT, reason="gate.*Permission denied").check(
        await one(fleet, "guarded")
    )


async def test_host_that_refuses_the_jump_host(fleet: SshdFleet) -> None:
    fleet.add_host("far-closed", options={"ProxyJump": "node001", "Port": "1"})
    Truth(Status.UNREACHABLE, False, phase=Phase.CONNECT, reason="node001.*Connection refused").check(
        await one(fleet, "far-closed")
    )


# retries


async def test_dropped_host_is_tried_again(fleet: SshdFleet) -> None:
    with listening(passing_on_to(fleet.port, dropping=2)) as listener:
        fleet.add_host("moody", options={"HostKeyAlias": f"[127.0.0.1]:{fleet.port}", "Port": str(listener.port)})
        outcome = await one(fleet, "moody", retries=2)
        Truth(Status.OK, True, 0, attempts=3, more={"stdout": b"ran\n"}).check(outcome)
        assert listener.accepted == 3
    assert outcome.phases.queued is not None
    assert outcome.phases.queued > 0.5


async def test_retries_are_bounded(fleet: SshdFleet) -> None:
    with listening(hang_up) as listener:
        fleet.add_host("always-drops", options={"Port": str(listener.port)})
        Truth(Status.DROPPED, False, phase=Phase.HANDSHAKE, attempts=2).check(
            await one(fleet, "always-drops", retries=1)
        )
        assert listener.accepted == 2


async def test_command_that_may_have_run_is_never_tried_again(fleet: SshdFleet, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    outcome = await one(fleet, "node001", f"echo x >>{ran}; kill -9 $PPID; sleep 30", retries=5, on_stop="leave")
    assert (outcome.status, outcome.sent, outcome.attempts) == (Status.LOST, True, 1)
    assert ran.read_text() == "x\n"


# connections that end, or freeze, while the command runs


async def running_command(fleet: SshdFleet, tmp_path: Path, **options: Any) -> tuple[asyncio.Task[Outcome], int, int]:
    """Start a command; return its task, its process and the server's process of its session."""
    told = tmp_path / "told"
    command = f"echo before; echo $$ $PPID >{told}.new; mv {told}.new {told}; exec sleep 60"
    task = asyncio.create_task(one(fleet, "node001", command, on_stop="leave", **options))
    await until(told.exists)
    command_pid, server = map(int, told.read_text().split())
    return task, command_pid, server


async def test_session_killed_at_the_server_is_lost(fleet: SshdFleet, tmp_path: Path) -> None:
    task, command, server = await running_command(fleet, tmp_path)
    os.kill(server, signal.SIGKILL)
    outcome = await task
    os.kill(command, signal.SIGKILL)
    Truth(
        Status.LOST, True, phase=Phase.RUN, reason="lost after the command was sent",
        more={"stdout": b"before\n", "stderr": b"", "remote": "unknown"},
    ).check(outcome)  # fmt: skip


async def test_frozen_server_is_lost_once_it_answers_no_more(fleet: SshdFleet, tmp_path: Path) -> None:
    ssh = Ssh(config_file=fleet.ssh_config, options={"ServerAliveInterval": 1, "ServerAliveCountMax": 1})
    task, command, server = await running_command(fleet, tmp_path, ssh=ssh)
    os.kill(server, signal.SIGSTOP)
    try:
        Truth(Status.LOST, True, phase=Phase.RUN, reason="not responding", more={"stderr": b""}).check(await task)
    finally:
        os.kill(command, signal.SIGKILL)
        os.kill(server, signal.SIGKILL)


async def test_remote_shell_killed_from_outside_is_signalled(fleet: SshdFleet, tmp_path: Path) -> None:
    task, command, _ = await running_command(fleet, tmp_path)
    os.kill(command, signal.SIGKILL)
    Truth(Status.SIGNALLED, True, reason="signal", more={"stdout": b"before\n"}).check(await task)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_ssh_ended_by_somebody_here_is_lost(fleet: SshdFleet, tmp_path: Path, number: signal.Signals) -> None:
    task, command, _ = await running_command(fleet, tmp_path)
    (ssh,) = _ssh_clients()
    os.kill(ssh, number)
    outcome = await task
    with contextlib.suppress(ProcessLookupError):
        os.kill(command, signal.SIGKILL)
    Truth(Status.LOST, True, phase=Phase.RUN, reason="killed on this machine by signal").check(outcome)


def _ssh_clients() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name, fields = path.read_text().split("(", 1)[1].rsplit(")", 1)
            if name == "ssh" and int(fields.split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


# what the user's ssh_config may hold


def config_with(fleet: SshdFleet, path: Path, text: str) -> Ssh:
    (path / "config").write_text(f"{text}\n{fleet.ssh_config.read_text()}")
    return Ssh(config_file=path / "config")


@pytest.mark.parametrize(
    "option",
    [
        "RemoteCommand echo theirs",
        "ForkAfterAuthentication yes",
        "SessionType none",
        "StdinNull yes",
        "RequestTTY force",
        "IgnoreUnknown UseKeychain\nUseKeychain yes",
        "LogLevel QUIET",
        "LogLevel DEBUG3",
        "BatchMode no",
        "PermitLocalCommand yes\nLocalCommand echo local",
        "ControlMaster auto\nControlPath none",
        "LocalForward 1 localhost:1\nExitOnForwardFailure yes",
        "VerifyHostKeyDNS yes",
        "VisualHostKey yes",
        "EscapeChar x",
        "SyslogFacility LOCAL0",
    ],
)
async def test_truth_is_told_whatever_the_users_configuration_says(
    fleet: SshdFleet, tmp_path: Path, option: str
) -> None:
    ssh = config_with(fleet, tmp_path, option)
    outcome = await one(fleet, "node001", "cat; echo err >&2; exit 7", stdin=b"x~in\n", ssh=ssh)
    Truth(Status.FAILED, True, 7, more={"stdout": b"x~in\n", "stderr": b"err\n"}).check(outcome)


@pytest.fixture
def control(fleet: SshdFleet) -> Iterator[tuple[Ssh, Path]]:
    """A configuration with ControlMaster and ControlPersist, and the socket's place, short enough for one."""
    with tempfile.TemporaryDirectory(prefix="s") as directory:
        path = Path(directory)
        socket = path / "master"
        ssh = config_with(fleet, path, f"ControlMaster auto\nControlPersist yes\nControlPath {socket}")
        yield ssh, socket
        if socket.exists():
            subprocess.run(
                ["ssh", "-F", path / "config", "-O", "exit", "node001"], check=False, stderr=subprocess.DEVNULL
            )


def start_master(ssh: Ssh, socket: Path) -> int:
    """Start the user's own master; return its process id."""
    subprocess.run(
        ["ssh", "-F", str(ssh.config_file), "-fN", "node001"],
        check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    said = subprocess.run(
        ["ssh", "-F", str(ssh.config_file), "-O", "check", "node001"], check=True, capture_output=True, text=True
    )
    found = re.search(r"pid=(\d+)", said.stderr + said.stdout)
    assert found is not None
    return int(found[1])


async def test_users_control_persist_leaves_no_master_behind(fleet: SshdFleet, control: tuple[Ssh, Path]) -> None:
    ssh, socket = control
    for _ in range(2):
        Truth(Status.FAILED, True, 5, more={"stdout": b"out\n"}).check(
            await one(fleet, "node001", "echo out; exit 5", ssh=ssh)
        )
    assert not socket.exists()


@pytest.mark.parametrize(("command", "code"), [("echo out", 0), ("echo out; exit 5", 5)])
async def test_users_own_master_is_used(fleet: SshdFleet, control: tuple[Ssh, Path], command: str, code: int) -> None:
    ssh, socket = control
    start_master(ssh, socket)
    outcome = await one(fleet, "node001", command, ssh=ssh)
    assert (outcome.exit_code, outcome.sent, outcome.stdout) == (code, True, b"out\n"), outcome
    assert outcome.status is (Status.OK if code == 0 else Status.FAILED)
    assert (outcome.phases.connect, outcome.phases.handshake, outcome.phases.auth) == (None, None, None)


async def test_socket_of_a_dead_master_is_passed_over(fleet: SshdFleet, control: tuple[Ssh, Path]) -> None:
    ssh, socket = control
    master = start_master(ssh, socket)
    os.kill(master, signal.SIGKILL)
    await until(lambda: not is_running(master))
    assert socket.exists()
    Truth(Status.FAILED, True, 5, more={"stdout": b"out\n", "stderr": b""}).check(
        await one(fleet, "node001", "echo out; exit 5", ssh=ssh)
    )


async def test_master_that_dies_during_the_command_is_lost(
    fleet: SshdFleet, control: tuple[Ssh, Path], tmp_path: Path
) -> None:
    ssh, socket = control
    master = start_master(ssh, socket)
    task, command, _ = await running_command(fleet, tmp_path, ssh=ssh)
    os.kill(master, signal.SIGKILL)
    outcome = await task
    with contextlib.suppress(ProcessLookupError):
        os.kill(command, signal.SIGKILL)
    assert (outcome.status, outcome.sent, outcome.exit_code) == (Status.LOST, True, None), outcome


# our own machine


async def test_missing_program_is_local() -> None:
    report = await fan_out(["web1", "web2"], "true", ssh=Ssh(program="/nowhere/ssh"))
    for outcome in report:
        Truth(
            Status.LOCAL,
            False,
            phase=Phase.QUEUED,
            attempts=0,
            reason=r"cannot start '/nowhere/ssh': no such program",
        ).check(outcome)


@pytest.mark.parametrize(
    ("ssh", "reason"),
    [
        (Ssh(options={"NoSuchOption": "1"}), "(?i)bad configuration option"),
        (Ssh(config_file="/nowhere/config"), "(?i)can't open user config file /nowhere/config"),
        (Ssh(options={"Port": "many"}), "(?i)port"),
    ],
)
async def test_impossible_configuration_is_local(ssh: Ssh, reason: str) -> None:
    report = await fan_out("web1", "true", ssh=ssh)
    Truth(Status.LOCAL, False, phase=Phase.RESOLVE, reason=reason).check(report["web1"])


# other servers


@pytest.fixture
def dropbear(fleet: SshdFleet, tmp_path: Path) -> Iterator[str]:
    """A host served by dropbear."""
    with serving(fleet, tmp_path) as host:
        yield host


@pytest.mark.parametrize("command", ["true", "exit 3", "exit 255", "kill -9 $$"])
async def test_dropbear(fleet: SshdFleet, dropbear: str, command: str) -> None:
    COMMANDS[command].check(await one(fleet, dropbear, command))


class _Server(asyncssh.SSHServer):
    """Lets everybody in who has the fleet's key; behaves as the user name says."""

    def begin_auth(self, username: str) -> bool:
        return True


async def _process(process: asyncssh.SSHServerProcess[str]) -> None:
    match process.command:
        case "signal":
            process.exit_with_signal("SEGV", False, "segmentation fault")
        case "no status":
            process.close()
        case "cut":
            process.channel.get_connection().abort()
        case "status 7":
            process.stdout.write("out\n")
            process.stderr.write("err\n")
            process.exit(7)
        case "huge status":
            process.exit(0x1FF)


@pytest.fixture
async def foreign(fleet: SshdFleet, tmp_path: Path) -> AsyncIterator[str]:
    """A host served by asyncssh, which can end a command in ways that sshd does not."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(
        _Server,
        "127.0.0.1",
        0,
        server_host_keys=[key],
        authorized_client_keys=os.fspath(fleet.directory / "client_key.pub"),
        process_factory=_process,
    )
    port = server.get_port()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    fleet.add_host("foreign", options={"Port": str(port), "UserKnownHostsFile": os.fspath(tmp_path / "known")})
    yield "foreign"
    server.close()
    await server.wait_closed()


FOREIGN = {
    "signal": Truth(Status.SIGNALLED, True, reason="signal"),
    "no status": Truth(Status.LOST, True, phase=Phase.RUN, reason="no exit status arrived"),
    "cut": Truth(Status.LOST, True, phase=Phase.RUN, reason="lost after the command was sent"),
    "status 7": Truth(Status.FAILED, True, 7, more={"stdout": b"out\n", "stderr": b"err\n"}),
}


@pytest.mark.parametrize("command", FOREIGN)
async def test_asyncssh_server(fleet: SshdFleet, foreign: str, command: str) -> None:
    FOREIGN[command].check(await one(fleet, foreign, command, on_stop="leave"))
