from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sshfan_async.cli.arguments.script import script_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli_program import Sshfan


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
    ("first", "interpreter"),
    [
        ("echo x", "sh"),
        ("#!/bin/zsh", "/bin/zsh"),
        ("#! /usr/bin/env bash", "/usr/bin/env bash"),
        ("#!/usr/bin/env python3", "/usr/bin/env python3"),
        ("#!/usr/bin/perl -w", "/usr/bin/perl -w"),
    ],
)
def test_the_first_line_names_the_interpreter(first: str, interpreter: str) -> None:
    assert script_command(f"{first}\necho\n".encode(), ("a",)).endswith(f" {interpreter} /dev/fd/3 a")


@pytest.mark.parametrize("kill", ["stop", "never"])
@pytest.mark.parametrize("interpreter", ["sh", "bash", "dash", "zsh", "busybox sh", "perl", "python3", "awk"])
def test_a_command_of_a_script_that_reads_its_input_takes_no_line_of_it(
    on_fleet: Sshfan, tmp_path: Path, interpreter: str, kill: str
) -> None:
    # The python3 in PATH may be a launcher that runs the one of another directory's choice.
    found = sys.executable if interpreter == "python3" else shutil.which(interpreter.split()[0])
    if found is None:
        pytest.skip(f"{interpreter} is not installed")
    script = tmp_path / "script"
    rest = interpreter.partition(" ")[2]
    script.write_text(f"#!{found} {rest}".rstrip() + "\n" + SCRIPTS.get(interpreter, SHELL_SCRIPT))
    if interpreter == "awk":
        script.write_text(f"#!{found} -f\n" + SCRIPTS["awk"])
    done = on_fleet("-w", "node001", "--kill", kill, "-u", "20", "-S", "--script", str(script), "a b")

    assert (done.returncode, done.stdout) == (3, b"node001: before a b\nnode001: after 0\n"), done.stderr


SHELL_SCRIPT = 'echo "before $1"\nx=$(wc -c)\necho after $x\nexit 3\n'
SCRIPTS = {
    "perl": '$| = 1; print "before $ARGV[0]\\n"; my $x = length(join "", <STDIN>); print "after $x\\n"; exit 3;\n',
    "python3": "import sys\nprint('before', sys.argv[1])\nprint('after', len(sys.stdin.read()))\nsys.exit(3)\n",
    "awk": 'BEGIN { print "before " ARGV[1]; print "after " (getline x < "/dev/stdin"); exit 3 }\n',
}


def test_a_script_leaves_no_file_behind(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"ls -l /dev/fd/3; ls -A {tmp_path}/remote\n")
    (tmp_path / "remote").mkdir()
    command = shlex.split(script_command(script.read_bytes(), ()))[1:]
    done = subprocess.run(
        command, check=True, input=script.read_bytes(), capture_output=True, env={"TMPDIR": f"{tmp_path}/remote"}
    )
    assert re.fullmatch(rb".* -> .*/remote/sshfan\..* \(deleted\)\n", done.stdout)
    assert list((tmp_path / "remote").iterdir()) == []


def test_a_script_that_does_not_arrive_whole_is_not_run(tmp_path: Path) -> None:
    text = b"echo one\necho two\n"
    command = shlex.split(script_command(text, ()))[1:]
    done = subprocess.run(command, check=False, input=text[:-5], capture_output=True)
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr == b"sshfan: the script has not arrived whole, and was not run\n"


def test_a_large_script_runs(on_fleet: Sshfan, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(": " + "x" * 100 + "\n" + (": " + "x" * 100 + "\n") * 20_000 + "cat; echo end\n")
    done = on_fleet("-w", "node00[1-3]", "--script", str(script))
    assert sorted(done.stdout.splitlines()) == [b"node001: end", b"node002: end", b"node003: end"]
