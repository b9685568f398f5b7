from __future__ import annotations

import subprocess

import pytest

from sshfan_async.cli.help_text.topics import TOPICS
from sshfan_async.cli.main import main
from tests.support.cli_program import LIMIT, PROGRAM, environment


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["--help"], "Usage: sshfan"),
        (["-h"], "Usage: sshfan"),
        (["-w", "web1", "--help"], "Usage: sshfan"),
        (["demo", "--help"], "Usage: sshfan"),
        (["help"], "Usage: sshfan"),
        *((["help", topic.name], f"{topic.title}:") for topic in TOPICS),
        (["help", "completion"], "Completion"),
        (["--help", "hosts"], "Which hosts:"),
    ],
)
def test_help_fits_a_screen(capfd: pytest.CaptureFixture[str], arguments: list[str], first: str) -> None:
    assert main(arguments) == 0
    lines = capfd.readouterr().out.splitlines()

    assert lines[0].startswith(first)
    assert len(lines) <= 36
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "arguments", [["--help"], ["help", "man"], ["--version"], ["-w", "web1", "--help"], ["shell", "--help"]]
)
def test_help_that_cannot_be_written_is_told(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            env=environment(),
        )

    assert done.stderr == b"sshfan: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1
