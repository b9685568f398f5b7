from __future__ import annotations

import re
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.support.cli_program import LIMIT, PROGRAM, environment
from tests.support.cli_terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli_program import Doorbell, Sshfan


def test_some_hosts_misbehave_on_purpose_and_the_demo_is_a_success(sshfan: Sshfan, tmp_path: Path) -> None:
    done = sshfan("demo", env={"TMPDIR": str(tmp_path)})

    said = done.stderr.decode()
    assert done.returncode == 0
    assert len(re.findall(rb"^node0\d\d: Linux ", done.stdout, re.MULTILINE)) == 35
    assert "40 hosts, all of them one private sshd on this machine; 8 misbehave on purpose\n" in said
    assert re.search(r"^40 hosts in \d\.\d s: 35 ok, 3 failed, 1 timed out, 1 unreachable$", said, re.MULTILINE)
    assert "  node[008,028,038] (3): the command exited with 3\n" in said
    assert "  node018: timed out after 3.0 s in run\n" in said
    assert re.search(r"^slowest:\n  node018 +3\.\d\d s .*run 3\.\d", said, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_a_command_of_ones_own_runs_on_healthy_hosts(sshfan: Sshfan) -> None:
    done = sshfan("demo", "--hosts", "5", "echo", "-n", "x")

    assert sorted(done.stdout.splitlines()) == [b"node00%d: x" % number for number in range(1, 6)]
    assert b"5 ok" in done.stderr
    assert b"misbehave" not in done.stderr
    assert done.returncode == 0


def test_the_exit_code_is_that_of_ones_own_command(sshfan: Sshfan) -> None:
    assert sshfan("demo", "--hosts", "2", "exit 4").returncode == 1


def test_one_host_is_enough(sshfan: Sshfan) -> None:
    done = sshfan("demo", "--hosts", "1")

    assert b"1 host, one private sshd on this machine\n" in done.stderr
    assert b": 1 ok\n" in done.stderr


def test_a_missing_program_is_named_with_its_package(sshfan: Sshfan) -> None:
    done = sshfan("demo", env={"PATH": "/nonexistent"})

    assert done.stderr.startswith(b"sshfan: ssh-keygen is not installed: install the package openssh-client ")
    assert done.stderr.count(b"\n") == 1
    assert done.returncode == 2


def test_a_signal_ends_the_demo_and_its_fleet(bell: Doorbell, tmp_path: Path) -> None:
    fleets = tmp_path / "fleets"
    fleets.mkdir()
    with subprocess.Popen(
        [*PROGRAM, "demo", "--hosts", "1", f"echo > {bell}; sleep 60"],
        stderr=subprocess.PIPE,
        env=environment(TMPDIR=str(fleets)),
    ) as running:
        bell.wait()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=LIMIT)

    assert running.returncode == 130
    assert b"ended by SIGINT: 1 cancelled" in said
    assert list(fleets.iterdir()) == []


def test_the_progress_of_the_demo_names_the_slow_hosts() -> None:
    with Terminal("demo", "--hosts", "20") as terminal:
        terminal.read_until("running: .*node018")
        assert terminal.finish() == 0

    assert "20 hosts, all of them one private sshd" in terminal.screen[0]
