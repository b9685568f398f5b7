from __future__ import annotations

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
