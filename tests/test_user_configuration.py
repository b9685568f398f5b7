"""Options in the user's ssh_config: the outcome must be true whatever they are."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sshfan_async import Ssh, Status
from tests.support.processes import is_running, until
from tests.support.truth import Truth, one, running_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sshfan_async.testing import SshdFleet


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
    """A configuration with ControlMaster and ControlPersist, and the path of its socket, which must be short."""
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
    """Start a master as the user would; return its process id."""
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
