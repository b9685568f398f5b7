"""A dropbear on loopback that accepts the key of a fleet of sshd."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import accounts, processes
from tests.support.listeners import listening, stall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sshfan_async.testing import SshdFleet


@contextlib.contextmanager
def serving(fleet: SshdFleet, directory: Path) -> Iterator[str]:
    """Serve the host "dropbear" of `fleet`; skip the test if dropbear or nss_wrapper is not installed."""
    if shutil.which("dropbear") is None:
        pytest.skip("dropbear-bin is not installed")
    dot_ssh = directory / "home" / ".ssh"
    dot_ssh.mkdir(parents=True)
    for path in (dot_ssh.parent, dot_ssh):
        path.chmod(0o700)
    (dot_ssh / "authorized_keys").write_text((fleet.directory / "client_key.pub").read_text())
    (dot_ssh / "authorized_keys").chmod(0o600)
    environment = {**os.environ, **accounts.environment(directory, accounts.current(home=dot_ssh.parent))}
    key, pid = directory / "hostkey", directory / "pid"
    made = subprocess.run(["dropbearkey", "-t", "ed25519", "-f", key], check=True, capture_output=True, text=True)
    with listening(stall) as reserved:
        port = reserved.port
    argv: list[str | Path] = ["dropbear", "-F", "-E", "-r", key, "-p", f"127.0.0.1:{port}", "-P", pid]
    server = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE)
    try:
        processes.wait_until(lambda: pid.exists() or server.poll() is not None, "dropbear listens")
        assert server.poll() is None, server.communicate()
        public = next(line for line in made.stdout.splitlines() if line.startswith("ssh-"))
        (directory / "known").write_text(f"[127.0.0.1]:{port} {public}\n")
        options = {"HostName": "127.0.0.1", "Port": str(port), "UserKnownHostsFile": os.fspath(directory / "known")}
        fleet.add_host("dropbear", options=options)
        yield "dropbear"
    finally:
        server.kill()
        server.communicate()
