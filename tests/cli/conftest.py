from __future__ import annotations

import multiprocessing
import subprocess
from multiprocessing import forkserver
from typing import TYPE_CHECKING

import pytest

from sshfan_async.testing import SshdFleet
from tests.support.cli_program import LIMIT, PRELOADED, PROGRAM, Doorbell, environment, run_main

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

    from tests.support.cli_program import Sshfan, Start


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
    """Start the real program on the fleet, behind the words of `before`, and do not wait for it."""
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


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServerContext]:
    """Forks processes that have already imported the program: a run then takes a third of the time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.cli_program", *PRELOADED])
    forkserver.ensure_running()
    yield context
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def sshfan(forks: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> Sshfan:
    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        out, err = (tmp_path_factory.mktemp("sshfan") / name for name in ("stdout", "stderr"))
        process = forks.Process(target=run_main, args=(arguments, environment(**(env or {})), str(out), str(err)))
        process.start()
        process.join(LIMIT)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, LIMIT)
        process.close()
        return subprocess.CompletedProcess(arguments, code, out.read_bytes(), err.read_bytes())

    return run


@pytest.fixture
def on_fleet(fleet: SshdFleet, sshfan: Sshfan) -> Sshfan:
    """Run the program with the fleet's ssh_config."""

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        return sshfan("--ssh-config", str(fleet.ssh_config), *arguments, env=env or {})

    return run
