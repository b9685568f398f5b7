"""Servers that are not OpenSSH: dropbear and asyncssh."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import asyncssh
import pytest

from sshfan_async import Phase, Status
from tests.support.dropbear import serving
from tests.support.truth import COMMANDS, Truth, one

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sshfan_async.testing import SshdFleet


@pytest.fixture
def dropbear(fleet: SshdFleet, tmp_path: Path) -> Iterator[str]:
    """A host served by dropbear."""
    with serving(fleet, tmp_path) as host:
        yield host


@pytest.mark.parametrize("command", ["true", "exit 3", "exit 255", "kill -9 $$"])
async def test_dropbear(fleet: SshdFleet, dropbear: str, command: str) -> None:
    COMMANDS[command].check(await one(fleet, dropbear, command))


class _Server(asyncssh.SSHServer):
    """Accepts the key of the fleet for any user name."""

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
