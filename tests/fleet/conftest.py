from __future__ import annotations

import asyncio
import tempfile
from typing import TYPE_CHECKING

import pytest

from sshfan_async.fleet.command import HostCommand
from sshfan_async.testing import SshdFleet
from tests.support import processes
from tests.support.fleets import directories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sshfan_async.event import Stream
    from sshfan_async.testing.pytest_plugin import SshdFleetFactory


@pytest.fixture(autouse=True)
def no_file_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test its own temporary directory: other fleets may run on this machine."""
    tmp_path_factory.getbasetemp()  # the first call asks tempfile
    with tempfile.TemporaryDirectory(prefix="f") as directory:  # short: sockets are made in it
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield
        processes.wait_until(lambda: not directories(), "all sockets' directories removed")


@pytest.fixture(scope="session")
def stock_fleet(sshd_fleet_factory: SshdFleetFactory) -> SshdFleet:
    """Hosts with OpenSSH's default limit of 10 sessions."""
    return sshd_fleet_factory(3, sshd_options={"KexAlgorithms": "curve25519-sha256", "MaxSessions": "10"})


@pytest.fixture(scope="session", params=[3])
def few_sessions(request: pytest.FixtureRequest, sshd_fleet_factory: SshdFleetFactory) -> SshdFleet:
    """A host with another limit."""
    limit = str(request.param)
    return sshd_fleet_factory(1, sshd_options={"KexAlgorithms": "curve25519-sha256", "MaxSessions": limit})


@pytest.fixture
def own_server() -> Iterator[SshdFleet]:
    """A server that a test may stop or kill."""
    with SshdFleet(2, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as server:
        yield server


@pytest.fixture
def output_came(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when the first standard output of a command has arrived."""
    came, take = asyncio.Event(), HostCommand.output

    def output(command: HostCommand, stream: Stream, data: bytes) -> None:
        take(command, stream, data)
        if stream == "stdout":
            came.set()

    monkeypatch.setattr(HostCommand, "output", output)
    return came
