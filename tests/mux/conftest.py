from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sshfan_async.mux.connection import Connection, open_connection
from tests.support.mux import Master, socket_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from sshfan_async.testing.pytest_plugin import SshdFleetFactory


@pytest.fixture(scope="module")
def limited_fleet(sshd_fleet_factory: SshdFleetFactory) -> SshdFleet:
    return sshd_fleet_factory(1, sshd_options={"KexAlgorithms": "curve25519-sha256", "MaxSessions": "4"})


@pytest.fixture
def sockets() -> Iterator[Path]:
    with socket_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def shared_master(sshd_fleet_factory: SshdFleetFactory) -> Iterator[Master]:
    """A master of a host without a session limit: sessions of an earlier test may still count."""
    fleet = sshd_fleet_factory(1, sshd_options={"KexAlgorithms": "curve25519-sha256", "AcceptEnv": "GREETING"})
    with socket_directory() as directory:
        master = Master(fleet, directory)
        yield master
        master.end()


@pytest.fixture
async def connection(shared_master: Master) -> AsyncIterator[Connection]:
    connection = await open_connection(shared_master.path)
    yield connection
    connection.close()
    await connection.closed
