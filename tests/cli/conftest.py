from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from cli_program import LIMIT, PROGRAM, Doorbell, environment

from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cli_program import Sshfan, Start


@pytest.fixture(scope="session")
def fleet() -> Iterator[SshdFleet]:
    with SshdFleet(8, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as running:
        running.add_host("closed1", options={"HostName": "127.0.0.1", "Port": "1"})
        running.add_host("closed2", options={"HostName": "127.0.0.1", "Port": "1"})
        yield running


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Doorbell]:
    doorbell = Doorbell(tmp_path / "bell")
    yield doorbell
    doorbell.close()


@pytest.fixture
def start(fleet: SshdFleet) -> Iterator[Start]:
    """Start the real program on the fleet, with `before` in front of it, and go on."""
    started: list[subprocess.Popen[bytes]] = []

    def popen(*arguments: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        running = subprocess.Popen(
            [*before, *PROGRAM, "--ssh-config", str(fleet.ssh_config), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        started.append(running)
        return running

    yield popen
    for running in started:
        if running.returncode is None:
            running.kill()
        running.communicate()


@pytest.fixture
def sshfan() -> Sshfan:
    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
            env=environment(**(env or {})),
        )

    return run


@pytest.fixture
def on_fleet(fleet: SshdFleet, sshfan: Sshfan) -> Sshfan:
    """The same with the fleet's ssh_config."""

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        return sshfan("--ssh-config", str(fleet.ssh_config), *arguments, env=env or {})

    return run
