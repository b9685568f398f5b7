"""Run the examples of README.md and docs/ as tests, on a private fleet that the text does not show.

A `python` block runs as a program. If a `text` block follows directly, that is its output. A `console` block has
commands after `$ ` and their output. `<!-- skip: next "reason" -->` skips the next block. The order of the output's
lines does not count, nor do decimals such as 0.25. `<!-- varies: EXPRESSION -->` before the block with the output
is a regular expression for other text that may differ.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

if TYPE_CHECKING:
    from sybil.example import Example

    from sshfan_async.testing.pytest_plugin import SshdFleetFactory

HOSTS = [*(f"web{number}" for number in range(1, 21)), "db1", "db2"]
CLOSED = "web3"
GROUPS = """\
[Main]
default: local

[local]
map: case $GROUP in web) echo "web[1-20]";; db) echo "db[1-2]";; esac
all: echo "web[1-20],db[1-2]"
list: echo web db
"""
LIMIT = 50.0
DECIMAL = re.compile(r"(?<![\d.])\d+\.\d+(?![\d.])")
"""No part of an IP address."""
VARIES = re.compile(r"<!-- varies: (.+?) -->\s*\Z")
OUTPUT = re.compile(
    r"\s*(?:<!-- varies: (?P<varies>.+?) -->\s*)?^```text\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@pytest.fixture(scope="session")
def example_environment(
    sshd_fleet_factory: SshdFleetFactory, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Variables under which the examples reach a private fleet with the `ssh` and `sshfan` of their PATH."""
    fleet = sshd_fleet_factory(HOSTS, sshd_options={"KexAlgorithms": "curve25519-sha256"})
    fleet.add_host(CLOSED, options={"HostName": "127.0.0.1", "Port": "1"})
    directory = tmp_path_factory.mktemp("examples")
    programs = {"ssh": f"{shutil.which('ssh')} -F {fleet.ssh_config}", "sshfan": f"{sys.executable} -m sshfan_async"}
    for name, command in programs.items():
        (directory / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (directory / name).chmod(0o755)
    (directory / "groups.conf").write_text(GROUPS)
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "WCOLL")}
    return {
        **inherited,
        "PATH": f"{directory}:{os.environ['PATH']}",
        "CLUSTERSHELL_CFGDIR": str(directory),
    }


def run(argv: list[str], example: Example, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        check=False,
        cwd=directory,
        env=example.namespace["example_environment"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )


def run_python(example: Example) -> str | None:
    """Run a block as a program; return what is wrong with its output."""
    source = "\n" * example.line + example.parsed  # a traceback has the line numbers of the document
    done = run([sys.executable, "-W", "error", "-c", source], example, example.namespace["tmp_path"])
    if done.returncode != 0:
        return f"it exited with {done.returncode}:\n{done.stdout}"
    shown = OUTPUT.match(example.document.text, example.region.end)
    return None if shown is None else difference(shown["text"], done.stdout, shown["varies"])


def run_console(example: Example) -> str | None:
    """Run the commands of a block one after the other in one shell; return what is wrong with their output."""
    session = [part.partition("\n") for part in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]]
    script = "exec 2>&1\nend() { code=$?; printf '\\0'; return $code; }\n"
    script += "".join(f"{command}\nend\n" for command, _, _ in session)
    done = run(["bash", "-c", script], example, example.namespace["tmp_path"])
    varies = VARIES.search(example.document.text, 0, example.region.start)
    outputs = done.stdout.split("\0")[:-1]
    if len(outputs) != len(session):
        return f"not all of its commands ended:\n{done.stdout}"
    for (_, _, shown), output in zip(session, outputs, strict=True):
        wrong = difference(shown, output, varies and varies[1])
        if wrong is not None:
            return wrong
    return None


def difference(shown: str, output: str, varies: str | None) -> str | None:
    """Return how the output differs from what the document shows."""
    expected, actual = (comparable(text, varies) for text in (shown, output))
    if expected == actual:
        return None
    lines = difflib.unified_diff(expected, actual, "shown", "printed", lineterm="")
    return "\n".join(["its output differs:", *lines])


def marked_block(document: str, name: str) -> str:
    """Return the code block of a page in docs/ that follows `<!-- name -->`."""
    page = Path(__file__).parents[2] / "docs" / document
    found = re.findall(rf"<!-- {name} -->\n```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


def comparable(text: str, varies: str | None) -> list[str]:
    """Return the lines in a fixed order, without what may differ from run to run."""
    if varies is not None:
        text = re.sub(varies, "…", text)
    return sorted(DECIMAL.sub("0.0", line).rstrip() for line in text.splitlines())


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", run_python), CodeBlockParser("console", run_console), SkipParser()],
    path=str(Path(__file__).parents[2]),
    patterns=["README.md", "docs/*.md"],
    fixtures=["example_environment", "tmp_path"],
).pytest()
