"""The web service that docs/fleets.md shows, in real servers: odd outputs, clients that go, and servers that stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sshfan_async.testing import SshdFleet
from tests.support.cli_program import LIMIT, Doorbell, environment, ssh_children
from tests.support.examples import marked_block
from tests.support.fleets import directories
from tests.support.marked import Mark
from tests.support.processes import children, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SERVERS = {
    "uvicorn": ["uvicorn", "--port", "0"],
    "gunicorn": ["gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:0"],
}
URL = re.compile(r"(?:running on|Listening at:) (http://127\.0\.0\.1:\d+)")

# `cat /proc/loadavg` on the hosts does what a test wants. Other calls are those of shells that start.
CAT = """#!/bin/sh
[ "$*" = /proc/loadavg ] || exec /bin/cat "$@"
. {directory}/load
"""


class Hosts:
    """A private fleet on which a test says what `cat /proc/loadavg` does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "bin").mkdir()
        program = directory / "bin" / "cat"
        program.write_text(CAT.format(directory=directory))
        program.chmod(0o755)
        self.load("echo 0.25 0.50")
        self.service = marked_block("fleets.md", "service")
        options = {"KexAlgorithms": "curve25519-sha256", "SetEnv": f"PATH={directory}/bin:/usr/bin:/bin"}
        self.fleet = SshdFleet(3, sshd_options=options)

    def load(self, script: str) -> None:
        (self.directory / "load").write_text(f"{script}\n")


class Server:
    """A web server as a child process."""

    def __init__(self, hosts: Hosts, argv: list[str]) -> None:
        self.name = argv[0]
        self.log = hosts.directory / "log"
        (hosts.directory / "service.py").write_text(hosts.service)
        path = os.pathsep.join([str(hosts.directory), environment()["PYTHONPATH"]])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *argv, "service:app"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(
                    PYTHONPATH=path, SERVICE_HOSTS="node[001-003]", SERVICE_SSH_CONFIG=str(hosts.fleet.ssh_config)
                ),
            )
        self.client = httpx.Client(base_url=self._url(), timeout=LIMIT, trust_env=False)
        wait_until(self._answers, "the server to answer")

    def _url(self) -> str:
        wait_until(lambda: self.process.poll() is not None or URL.search(self.log.read_text()), "the server to start")
        found = URL.search(self.log.read_text())
        assert found is not None, self.log.read_text()
        return found[1]

    def _answers(self) -> bool:
        try:
            return self.client.get("/health").is_success
        except httpx.ConnectError:  # a worker has not begun to listen
            return False

    def get(self, path: str) -> Any:
        return self.client.get(path).json()

    def request_load(self) -> subprocess.Popen[bytes]:
        """Request `/load` with a client that can be killed."""
        script = "import httpx, sys; httpx.get(sys.argv[1], timeout=None, trust_env=False)"
        url = self.client.base_url.join("/load")
        return subprocess.Popen(
            [sys.executable, "-c", script, str(url)], stderr=subprocess.DEVNULL, env=environment()
        )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LIMIT)

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.stop()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    hosts = Hosts(tmp_path)
    with hosts.fleet:
        yield hosts


@pytest.fixture(params=SERVERS)
def start(
    request: pytest.FixtureRequest, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Server]]:
    """Start one of the servers, with further options; at the end, it must have left nothing."""
    started: list[Server] = []

    def start_server(**options: str) -> Server:
        given = [word for name, value in options.items() if name == request.param for word in value.split()]
        started.append(Server(hosts, [*SERVERS[request.param], *given]))
        return started[-1]

    with tempfile.TemporaryDirectory(prefix="w") as directory:  # short: sockets are made in it
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield start_server
        for server in started:
            server.close()
        wait_until(lambda: not ssh_children(hosts.fleet), "each ssh to end")
        wait_until(lambda: not directories(), "the sockets' directories to be removed")


@pytest.fixture
def mark() -> Iterator[Mark]:
    mark = Mark()
    yield mark
    mark.kill()


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Doorbell]:
    bell = Doorbell(tmp_path / "bell")
    yield bell
    bell.close()


def test_any_output_of_a_host_has_an_answer(start: Callable[..., Server], hosts: Hosts) -> None:
    server = start(uvicorn="--workers 2", gunicorn="--workers 2 --preload")
    assert server.get("/load") == dict.fromkeys(hosts.fleet.hosts, 0.25)
    for script, said in {
        "": "unexpected output: b''",
        "echo none": r"unexpected output: b'none\n'",
        r"printf '\377\376nan'": r"unexpected output: b'\xff\xfenan'",
        "echo 0.25; exit 3": "the command exited with 3",
    }.items():
        hosts.load(script)
        assert server.get("/load") == dict.fromkeys(hosts.fleet.hosts, said)
    assert server.client.get("/hosts/node002/disk").status_code == 200


def test_client_that_disconnects_ends_its_commands(
    start: Callable[..., Server], hosts: Hosts, bell: Doorbell, mark: Mark
) -> None:
    assert hosts.service.count("timeout=5, deadline=10") == 1
    hosts.service = hosts.service.replace("timeout=5, deadline=10", "timeout=600, deadline=600")
    server = start()
    hosts.load(f"echo >{bell}; exec {mark.sleep}")
    with server.request_load() as client:
        bell.wait(3)
        client.kill()
    wait_until(lambda: not mark.commands(), "the commands to end")
    hosts.load("echo 0.25")
    assert server.get("/load") == dict.fromkeys(hosts.fleet.hosts, 0.25)
    assert "Traceback" not in server.log.read_text()


def test_server_that_stops_closes_the_fleet(
    start: Callable[..., Server], hosts: Hosts, bell: Doorbell, mark: Mark
) -> None:
    server = start(uvicorn="--timeout-graceful-shutdown 1")
    hosts.load(f"echo >{bell}; exec {mark.sleep}")
    with server.request_load():
        bell.wait(3)
        server.stop()
    # The shell's end is reported at once; the signal may reach the rest of its process group a moment later.
    wait_until(lambda: not mark.commands(), "the commands to end")


def test_guard_ends_each_ssh_of_a_worker_that_is_killed(
    start: Callable[..., Server], hosts: Hosts, bell: Doorbell, mark: Mark
) -> None:
    server = start(gunicorn="--workers 1")
    hosts.load(f"echo >{bell}; exec {mark.sleep}")
    workers = children(server.process.pid) if server.name == "gunicorn" else {server.process.pid}
    with server.request_load():
        bell.wait(3)
        masters = set(ssh_children(hosts.fleet))
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not masters & set(ssh_children(hosts.fleet)), "each ssh of the worker to end")
