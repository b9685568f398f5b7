"""Every status, each caused with real components; the outcome must say what happened."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sshfan_async import Phase, Ssh, Status, fan_out
from sshfan_async.testing import SshdFleet
from tests.support.listeners import hang_up, listening, passing_on_to, stall
from tests.support.processes import until
from tests.support.truth import COMMANDS, Truth, one, running_command

CHEAP = {"KexAlgorithms": "curve25519-sha256"}


# the command's own ending


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


# options of sshd


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
    monkeypatch.setattr("sshfan_async.process.spawn_gate._PAUSE", 0.0)  # as on idle CPUs: all connect at once
    with (
        SshdFleet(hosts, sshd_options={**CHEAP, "MaxStartups": maxstartups}) as fleet,
        contextlib.ExitStack() as idle,
    ):
        # Connections that never log in: sshd drops further ones from the start, however slowly they come.
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


# failures on this machine


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
