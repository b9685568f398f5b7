"""Ends that come from outside: signals, and readers that close or pause."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cli_program import LIMIT, PROGRAM, environment, ssh_children

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Doorbell, Start


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)]
)
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


SCRIPT = [sys.executable, "-c", "import sys; from sshfan_async.__main__ import main; sys.exit(main())"]
"""What the installed `sshfan` does."""


@pytest.mark.parametrize("program", [PROGRAM, SCRIPT], ids=["module", "script"])
def test_ctrl_c_while_the_program_is_loaded_prints_nothing(
    bell: Doorbell, tmp_path: Path, program: Sequence[str]
) -> None:
    (tmp_path / "click.py").write_text(f"open({str(bell)!r}, 'w').write('x')\nimport time\ntime.sleep({LIMIT})\n")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    with subprocess.Popen(
        [*program, "-w", "node001", "true"], stderr=subprocess.PIPE, env=environment(PYTHONPATH=path)
    ) as running:
        bell.wait()
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=LIMIT)
    assert (running.returncode, stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_an_ignored_signal_stays_ignored(
    start: Start, bell: Doorbell, tmp_path: Path, number: signal.Signals
) -> None:
    gate = tmp_path / "gate"
    command = f"echo > {bell}; until [ -e {gate} ]; do sleep 0.05; done; echo still here"
    running = start("-w", "node001", command, before=["sh", "-c", 'trap "" HUP INT; exec "$@"', "sh"])
    bell.wait()
    running.send_signal(number)
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


def test_a_reader_that_pauses_holds_no_host_up_that_writes_little(start: Start, bell: Doorbell) -> None:
    command = f"head -c 1000000 /dev/zero | tr '\\0' x; echo; echo > {bell}"
    running = start("-w", "node[001-003]", "-f1", "-u", "10", command)
    bell.wait(rings=3)  # the pipe to this test was full after the first
    stdout, stderr = running.communicate(timeout=LIMIT)

    assert len(stdout) == 3 * len(f"node001: {'x' * 1_000_000}\n")
    assert stderr == b""
    assert running.returncode == 0


def test_a_reader_that_pauses_holds_back_what_writes_much_and_costs_it_no_time(start: Start, bell: Doorbell) -> None:
    lines = 1_500_000
    running = start("-w", "node001", "-u", "1", f"echo > {bell}; yes 0123456 | head -n {lines}")
    bell.wait()
    time.sleep(1.5)  # what is tested: that this is not the command's time
    assert running.poll() is None
    stdout, stderr = running.communicate(timeout=LIMIT)

    assert stdout.count(b"node001: 0123456\n") == lines
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


def test_a_gathered_run_that_is_ended_shows_what_there_is(start: Start, bell: Doorbell, tmp_path: Path) -> None:
    command = f"mkdir {tmp_path}/first 2>/dev/null && echo done || {{ echo begun; echo > {bell}; sleep 60; }}"
    running = start("-b", "-w", "node[001-003]", "-f1", command)
    bell.wait()
    running.send_signal(signal.SIGINT)
    stdout, _ = running.communicate(timeout=LIMIT)

    assert [line for line in stdout.splitlines() if not line.startswith(b"---")] == [
        b"node001", b"done", b"node002", b"begun",
    ]  # fmt: skip
    assert running.returncode == 130


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (None, signal.SIGINT, 130),
        (None, signal.SIGTERM, 143),
        (signal.SIGHUP, signal.SIGINT, 129),
        (signal.SIGINT, signal.SIGTERM, 130),
        (signal.SIGQUIT, signal.SIGHUP, 131),
    ],
)
def test_a_gathered_output_that_nobody_reads_can_be_given_up_and_the_first_signal_counts(
    start: Start, bell: Doorbell, before: signal.Signals | None, after: signal.Signals, code: int
) -> None:
    wait = "" if before is None else "; sleep 60"
    running = start("-b", "-w", "node001", f"head -c 3000000 /dev/zero; echo > {bell}{wait}")
    bell.wait()
    if before is not None:
        running.send_signal(before)
    assert running.stdout is not None
    running.stdout.read(1)  # gathered output is written when the run has ended
    running.send_signal(after)

    assert running.wait(LIMIT) == code


def test_standard_input_that_is_closed_is_empty(fleet: SshdFleet) -> None:
    script = '"$@" <&-'
    arguments = ["--ssh-config", str(fleet.ssh_config), "-I", "-w", "node001", "wc -c"]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM, *arguments],
        check=False, capture_output=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip

    assert done.stdout == b"node001: 0\n"
