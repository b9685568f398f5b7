"""Ends that come from outside: signals, and readers that go."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from cli_program import LIMIT, PROGRAM, environment, ssh_children

if TYPE_CHECKING:
    from pathlib import Path

    from cli_program import Doorbell, Start

    from sshfan_async.testing import SshdFleet


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_run_with_what_there_is(
    fleet: SshdFleet, start: Start, bell: Doorbell, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = f"mkdir {tmp_path}/first 2>/dev/null && echo done || {{ echo > {bell}; sleep 60; }}"
    running = start("-w", "node[001-003]", "-f1", command)
    bell.wait()
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=LIMIT)

    assert running.returncode == code
    assert stdout == b"node001: done\n"
    second, third = stderr.decode().splitlines()
    assert second.startswith("sshfan: node002: cancelled after ")
    assert third == "sshfan: node003: never started: the run was stopped before this host's turn"
    assert ssh_children(fleet) == []


def test_an_ignored_hangup_stays_ignored(start: Start, bell: Doorbell, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = f"echo > {bell}; until [ -e {gate} ]; do sleep 0.05; done; echo still here"
    running = start("-w", "node001", command, before=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"])
    bell.wait()
    running.send_signal(signal.SIGHUP)
    gate.touch()

    assert running.communicate(timeout=LIMIT) == (b"node001: still here\n", b"")
    assert running.returncode == 0


def test_a_reader_that_goes_ends_the_run_quietly(fleet: SshdFleet, start: Start) -> None:
    running = start("-w", "node[001-008]", "-f2", "yes | head -n 100000; exec sleep 1")
    assert running.stdout is not None
    assert running.stdout.readline().endswith(b": y\n")
    running.stdout.close()
    running.stdout = None
    _, stderr = running.communicate(timeout=LIMIT)

    assert running.returncode == 128 + signal.SIGPIPE
    assert stderr == b""
    assert ssh_children(fleet) == []


def test_a_reader_that_pauses_holds_no_host_up(start: Start, bell: Doorbell) -> None:
    command = f"head -c 1000000 /dev/zero | tr '\\0' x; echo; echo > {bell}"
    running = start("-w", "node[001-003]", "-f1", "-u", "10", command)
    bell.wait(rings=3)  # the pipe to us was full after the first of them
    stdout, stderr = running.communicate(timeout=LIMIT)

    assert len(stdout) == 3 * len(f"node001: {'x' * 1_000_000}\n")
    assert stderr == b""
    assert running.returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_into_a_reader_that_has_gone_is_quiet(arguments: list[str]) -> None:
    done = subprocess.run(
        ["bash", "-c", 'exec 3> >(exit); wait $!; "$@" >&3', "bash", *PROGRAM, *arguments],
        check=False,
        capture_output=True,
        timeout=LIMIT,
        env=environment(),
    )

    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE
