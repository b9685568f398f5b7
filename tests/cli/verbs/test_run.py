"""Whole runs of one command."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from tests.support.cli_program import LIMIT, PROGRAM, environment
from tests.support.cli_terminal import Terminal, on

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Sshfan


def test_standard_input_reaches_every_host_if_asked(fleet: SshdFleet) -> None:
    done = subprocess.run(
        [*PROGRAM, "--ssh-config", fleet.ssh_config, "-I", "-w", "node[001-002]", "cat"],
        check=False, input=b"mine\n", capture_output=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip

    assert sorted(done.stdout.splitlines()) == [b"node001: mine", b"node002: mine"]


def test_the_commands_bytes_are_untouched_with_kill_never(on_fleet: Sshfan) -> None:
    done = on_fleet("--kill=never", "-w", "node001", 'printf %s "$SSH_ORIGINAL_COMMAND"; ps -o args= -p $$')

    assert b"ps -o args=" in done.stdout


def test_usual_command_lines_of_pdsh_and_clush(on_fleet: Sshfan) -> None:
    for line in (
        "-R ssh -w node[001-003] echo x",
        "-w node[001-004] -x node004 -f 2 -t 5 -u 30 echo x",
        "-w node001,node002 -w node003 --connect_timeout=5 --command_timeout 30 echo x",
        "-o '-oBatchMode=yes -q' -n -w node[1-3,7]!node7 -w node[001-003] -x node[1-3] echo x",
    ):
        done = on_fleet(*shlex.split(line))
        assert sorted(done.stdout.splitlines()) == [b"node001: x", b"node002: x", b"node003: x"], done.stderr
    assert sorted(on_fleet("-N", "-w", "node[001-003]", "echo x").stdout.splitlines()) == [b"x"] * 3


def test_one_hosts_bytes_pass_without_a_prefix_as_they_are(on_fleet: Sshfan) -> None:
    assert on_fleet("-N", "-w", "node001", r"printf 'a\nb'").stdout == b"a\nb"


def test_standard_error_of_one_host_does_not_drive_the_terminal_or_join_our_lines(
    fleet: SshdFleet, tmp_path: Path
) -> None:
    with (
        (tmp_path / "out").open("wb") as out,
        Terminal(
            *on(fleet, "-N", "-w", "node001", r"printf 'a\033[5m'; printf 'b\033[5m' >&2; exit 1"),
            stdout=out.fileno(),
        ) as terminal,
    ):
        terminal.finish()

    assert (tmp_path / "out").read_bytes() == b"a\x1b[5m"
    assert b"\x1b[5m" not in terminal.raw
    assert r"b\x1b[5m" in terminal.screen


def test_quiet_shows_no_output(on_fleet: Sshfan) -> None:
    done = on_fleet("--quiet", "-w", "node[001-002]", "echo x; echo y >&2; exit 1")

    assert (done.stdout, done.stderr) == (b"", b"sshfan: node[001-002] (2): the command exited with 1\n")
