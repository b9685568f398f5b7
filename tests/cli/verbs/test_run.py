"""How a command runs: standard input, scripts, rules about failures, batches, the dry run."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from sshfan_async.cli.arguments.script import script_command
from tests.support.cli_program import LIMIT, PROGRAM, environment

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Sshfan


def test_standard_input_reaches_every_host_where_asked(fleet: SshdFleet) -> None:
    done = subprocess.run(
        [*PROGRAM, "--ssh-config", fleet.ssh_config, "-I", "-w", "node[001-002]", "cat"],
        check=False, input=b"mine\n", capture_output=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip

    assert sorted(done.stdout.splitlines()) == [b"node001: mine", b"node002: mine"]


def test_a_script_runs_with_its_arguments_and_is_in_no_process_list(on_fleet: Sshfan, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(
        "#!/bin/bash -u\nsecret=1\nps -eo args | grep -c '[s]ecret=1'\nprintf '<%s>' \"$@\" \"$BASH\"\n"
    )
    done = on_fleet("-w", "node001", "--script", str(script), "--", "a b", "-c")

    assert done.stdout == b"node001: 0\nnode001: <a b><-c></bin/bash>\n"


@pytest.mark.parametrize("kill", ["stop", "always", "never"])
def test_a_script_may_be_for_an_interpreter_that_opens_standard_input_by_name(
    on_fleet: Sshfan, tmp_path: Path, kill: str
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:])\n")
    done = on_fleet("-w", "node00[1-8]", "--kill", kill, "-u", "20", "--script", str(script), "a b")

    assert sorted(done.stdout.splitlines()) == [b"node00%d: ['a b']" % number for number in range(1, 9)]


@pytest.mark.parametrize("spelling", [("--script", "{}"), ("--script={}",), ("--script", "{}", "--")])
def test_what_follows_a_script_is_the_scripts(on_fleet: Sshfan, tmp_path: Path, spelling: tuple[str, ...]) -> None:
    script = tmp_path / "script"
    script.write_text("printf '<%s>' \"$@\"\n")
    options = [word.format(script) for word in spelling]
    done = on_fleet("-w", "node001", *options, "-a", "--since", "today", "--", "--script", "-w")

    assert done.stdout == b"node001: <-a><--since><today><--><--script><-w>\n"


def test_a_command_may_have_an_option_named_script(on_fleet: Sshfan) -> None:
    assert on_fleet("-w", "node001", "echo", "--script", "x", "-a").stdout == b"node001: --script x -a\n"


def test_the_value_of_an_option_may_be_named_script(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node001", "-x", "--script", "-q")

    assert done.stderr.startswith(b"sshfan: '-script' starts with '-'")


def test_a_script_without_a_file_is_refused(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node001", "--script")

    assert done.stderr == b"sshfan: Option '--script' requires an argument.\n"
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("first", "command"),
    [
        ("echo x", "sh -s -- a"),
        ("#!/bin/zsh", "/bin/zsh -s -- a"),
        ("#! /usr/bin/env bash", "/usr/bin/env bash -s -- a"),
        ("#!/usr/bin/env python3", "cat | /usr/bin/env python3 /dev/stdin a"),
        ("#!/usr/bin/perl -w", "cat | /usr/bin/perl -w /dev/stdin a"),
    ],
)
def test_the_first_line_names_the_interpreter(first: str, command: str) -> None:
    assert script_command(f"{first}\necho\n".encode(), ("a",)) == command


@pytest.mark.parametrize(
    ("rules", "started", "code"),
    [
        (["-k"], 1, 1),
        (["--max-failures", "2"], 3, 1),
        (["--max-failures", "50%"], 5, 1),
        (["--batch", "2"], 1, 1),
        (["--batch", "2", "--max-failures", "1"], 2, 1),
        (["--batch", "50%,1", "--max-failures", "100%"], 8, 1),
        (["--max-failures", "8"], 8, 1),
    ],
)
def test_after_too_many_failures_no_further_host_is_started(
    on_fleet: Sshfan, rules: list[str], started: int, code: int
) -> None:
    done = on_fleet("-w", "node[001-008]", "-f1", *rules, "echo x; exit 1")

    assert done.stdout.count(b"x\n") == started
    assert (b"never started" in done.stderr) is (started < 8)
    assert done.returncode == code


def test_those_in_flight_end_by_themselves_but_for_fail_fast(on_fleet: Sshfan, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = f"mkdir {gate} 2>/dev/null && exit 1; until [ -e {gate}/open ]; do sleep 0.05; done; echo done"
    waiting = f"mkdir {gate} 2>/dev/null && {{ sleep 1; touch {gate}/open; exit 1; }}; {command}"
    done = on_fleet("-w", "node[001-004]", "-f2", "--max-failures", "0", waiting)
    assert done.stdout.endswith(b": done\n")
    assert done.returncode == 1

    (gate / "open").unlink()
    gate.rmdir()
    done = on_fleet("-w", "node[001-004]", "-f2", "-k", command)
    assert done.stdout == b""
    assert b"cancelled" in done.stderr
    assert done.returncode == 1


def test_the_commands_bytes_are_untouched_where_nothing_may_be_killed(on_fleet: Sshfan) -> None:
    done = on_fleet("--kill=never", "-w", "node001", 'printf %s "$SSH_ORIGINAL_COMMAND"; ps -o args= -p $$')

    assert b"ps -o args=" in done.stdout


def test_a_dry_run_shows_the_command_lines_and_what_they_override(on_fleet: Sshfan, fleet: SshdFleet) -> None:
    done = on_fleet("--dry-run", "-w", "node001,ops@node002:22", "-o", "Compression=yes", "echo 'a b'")

    lines = done.stdout.decode().splitlines()
    first, second = (shlex.split(line) for line in lines[:2])
    assert first[:3] == ["ssh", "-F", str(fleet.ssh_config)]
    assert "-oCompression=yes" in first
    assert first[-3:] == ["--", "node001", "echo 'a b'"]
    assert second[-7:] == ["-p", "22", "-l", "ops", "--", "node002", "echo 'a b'"]
    assert "#   compression yes (was no)" in lines
    assert "#   user ops (was root)" in lines or any(line.startswith("#   user ops (was ") for line in lines)
    assert all(line.startswith("#") for line in lines[2:])


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


def test_quiet_shows_no_output(on_fleet: Sshfan) -> None:
    done = on_fleet("--quiet", "-w", "node[001-002]", "echo x; echo y >&2; exit 1")

    assert (done.stdout, done.stderr) == (b"", b"sshfan: node[001-002] (2): the command exited with 1\n")
