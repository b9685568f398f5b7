from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

import sshfan_async
from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LIMIT = 40.0
PROGRAM = [sys.executable, "-m", "sshfan_async"]


class Sshfan(Protocol):
    """`sshfan(*arguments)`: the real program, run to its end without a terminal."""

    def __call__(self, *arguments: str, env: Mapping[str, str] = ...) -> subprocess.CompletedProcess[bytes]: ...


class Start(Protocol):
    def __call__(self, *arguments: str, before: Sequence[str] = ...) -> subprocess.Popen[bytes]: ...


def environment(**more: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**inherited, "PYTHONPATH": str(Path(sshfan_async.__file__).parent.parent), **more}


@pytest.fixture(scope="session")
def fleet() -> Iterator[SshdFleet]:
    with SshdFleet(8, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as running:
        running.add_host("closed1", options={"HostName": "127.0.0.1", "Port": "1"})
        running.add_host("closed2", options={"HostName": "127.0.0.1", "Port": "1"})
        yield running


class Doorbell:
    """A FIFO: remote commands ring it by `echo > {bell}`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR)  # a writer of our own: no end of file between two rings

    def __str__(self) -> str:
        return str(self._path)

    def wait(self, rings: int = 1) -> None:
        deadline = time.monotonic() + LIMIT
        while rings > 0:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the remote command has not begun"
            rings -= len(os.read(self._descriptor, rings))

    def close(self) -> None:
        os.close(self._descriptor)


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


def ssh_children(fleet: SshdFleet) -> list[int]:
    """The ssh clients of the fleet that run now."""
    wanted = os.fsencode(fleet.ssh_config)
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(arguments[0])).name == "ssh" and wanted in arguments:
            found.append(int(directory.name))
    return found
