from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sshfan_async.errors import InvalidSetting, SshfanError
from sshfan_async.testing import SshdFleet
from tests.support import processes
from tests.support.ssh_client import ssh

# names


def test_a_number_gives_names_that_sort() -> None:
    assert SshdFleet().hosts == ("node001", "node002", "node003")
    many = SshdFleet(1200).hosts
    assert many[0] == "node0001"
    assert list(many) == sorted(many)


def test_given_names_keep_their_order_and_collapse() -> None:
    assert SshdFleet(["web", "db.example", "web"]).hosts == ("web", "db.example")


@pytest.mark.parametrize(
    "hosts",
    [0, -1, True, 3.5, None, [], (), iter([]), "web", b"web", [3], [None], ["-oProxyCommand=x"], ["a b"], ["*"],
     ["a\nHost *"], [""]],
)  # fmt: skip
def test_impossible_hosts_are_refused_at_the_door(hosts: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"\A[^\n]*host[^\n]*\Z"):
        SshdFleet(hosts)


def test_each_host_answers_as_the_current_user(fleet: SshdFleet) -> None:
    for host in fleet.hosts:
        assert ssh(fleet, host, "id -un").stdout == pwd.getpwuid(os.geteuid()).pw_name + "\n"


@pytest.mark.parametrize("name", ["node006", "node000", "elsewhere.invalid"])
def test_a_name_outside_the_fleet_has_no_address(fleet: SshdFleet, name: str) -> None:
    assert "Could not resolve hostname" in ssh(fleet, name, "true").stderr


def test_names_beyond_one_block_of_the_configuration_are_known_too() -> None:
    with SshdFleet(250) as large:
        assert [ssh(large, host, "true").returncode for host in ("node001", "node100", "node101", "node250")] == [
            0
        ] * 4


# privacy


@pytest.mark.parametrize("host", ["node001", "elsewhere.invalid"])
def test_no_file_of_the_user_is_configured(fleet: SshdFleet, host: str) -> None:
    shown = subprocess.run(["ssh", "-F", fleet.ssh_config, "-G", host], check=True, capture_output=True, text=True)
    assert ".ssh/" not in shown.stdout
    assert "stricthostkeychecking true" in shown.stdout
    assert "identityagent none" in shown.stdout


def test_remote_home_is_private_and_empty(fleet: SshdFleet) -> None:
    assert ssh(fleet, "node001", 'echo "$HOME"; ls -A "$HOME"').stdout == f"{fleet.directory / 'home'}\n"


def test_directory_is_readable_by_its_owner_only(fleet: SshdFleet) -> None:
    assert fleet.directory.stat().st_mode & 0o777 == 0o700


def test_an_unknown_host_key_is_refused(fleet: SshdFleet) -> None:
    fleet.add_host("stranger", options={"UserKnownHostsFile": "/dev/null"})
    assert "Host key verification failed" in ssh(fleet, "stranger", "true").stderr


# the life of a fleet


def test_attributes_tell_of_the_running_sshd(fleet: SshdFleet) -> None:
    with socket.create_connection(("127.0.0.1", fleet.port), timeout=5) as connection:
        assert connection.recv(4) == b"SSH-"
    assert Path(f"/proc/{fleet.sshd_pid}/comm").read_text() == "sshd\n"
    assert fleet.ssh.config_file == fleet.ssh_config
    assert f"Server listening on 127.0.0.1 port {fleet.port}." in fleet.sshd_log()


async def test_async_with_keeps_the_loop_running(temporary: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    async with SshdFleet() as fleet:
        assert turns > 10
        assert ssh(fleet, "node003", "echo hello").stdout == "hello\n"
        pid = fleet.sshd_pid
    counting.cancel()
    assert processes.is_gone(pid)
    assert list(temporary.iterdir()) == []


async def test_cancelled_start_leaves_nothing(temporary: Path) -> None:
    entering = asyncio.create_task(SshdFleet().__aenter__())
    while not list(temporary.iterdir()):
        await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert list(temporary.iterdir()) == []


async def test_cancelled_body_leaves_nothing(temporary: Path) -> None:
    running = asyncio.Event()

    async def use() -> None:
        async with SshdFleet():
            running.set()
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    await running.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert list(temporary.iterdir()) == []


def test_two_fleets_run_side_by_side() -> None:
    with SshdFleet(["left"]) as left, SshdFleet(["right"]) as right:
        assert left.port != right.port
        assert ssh(left, "left", "echo 1").stdout == "1\n"
        assert ssh(right, "right", "echo 2").stdout == "2\n"
        assert ssh(left, "right", "true").returncode == 255


def test_end_leaves_no_process_and_no_file(temporary: Path) -> None:
    with SshdFleet() as fleet:
        detached = ssh(
            fleet, "node001", "setsid sh -c 'trap \"\" TERM; echo $$; exec >&- 2>&-; while :; do sleep 9; done'"
        )
        escaped = int(detached.stdout)
        with subprocess.Popen(
            ["ssh", "-F", fleet.ssh_config, "node001", "echo $$; exec sleep 600"], stdout=-1
        ) as client:
            assert client.stdout is not None
            running = int(client.stdout.readline())
            sshd = fleet.sshd_pid
            assert not processes.is_gone(escaped)
            fleet.__exit__(None, None, None)
            assert client.wait(5) == 255
    assert [pid for pid in (sshd, escaped, running) if not processes.is_gone(pid)] == []
    assert list(temporary.iterdir()) == []


def test_exception_in_the_body_passes_and_leaves_nothing(temporary: Path) -> None:
    fleet = SshdFleet()
    with pytest.raises(ZeroDivisionError), fleet:
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


def test_sshd_that_ends_by_itself_is_reported(temporary: Path) -> None:
    fleet = SshdFleet().__enter__()
    assert fleet._server is not None
    os.kill(fleet.sshd_pid, signal.SIGTERM)
    fleet._server.subreaper.wait(10)
    with pytest.raises(SshfanError, match=r"did not end well.*Received signal 15"):
        fleet.__exit__(None, None, None)
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root can remove every directory")
def test_what_cannot_be_removed_is_reported(temporary: Path) -> None:
    fleet = SshdFleet().__enter__()
    locked = fleet.directory / "home" / "locked"
    (locked / "inside").mkdir(parents=True)
    locked.chmod(0o500)
    with pytest.raises(SshfanError, match=r"did not end well.*Permission denied"):
        fleet.__exit__(None, None, None)
    locked.chmod(0o700)


def test_a_fleet_is_entered_once() -> None:
    fleet = SshdFleet()
    with fleet, pytest.raises(RuntimeError, match="once"):
        fleet.__enter__()
    with pytest.raises(RuntimeError, match="not running"):
        _ = fleet.port


# scale


@pytest.mark.slow
def test_300_connections_at_once_are_served() -> None:
    with SshdFleet(300, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        clients = [
            subprocess.Popen(["ssh", "-F", fleet.ssh_config, host, "true"], stdin=subprocess.DEVNULL)
            for host in fleet.hosts
        ]
        assert [client.wait() for client in clients] == [0] * 300
