"""What people and their shells read about the options: the man page and completion."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from typing import TYPE_CHECKING

import click
import pytest

from sshfan_async.cli.arguments.command_line import CommandLine
from sshfan_async.cli.help_text.manual import manual
from sshfan_async.cli.help_text.topics import TOPICS, overview
from sshfan_async.cli.main import main
from sshfan_async.cli.verbs.run import command

if TYPE_CHECKING:
    from tests.support.cli_program import Sshfan

OPTIONS = [param for param in command.params if isinstance(param, click.Option)]


def test_each_option_is_in_a_topic_and_in_the_man_page() -> None:
    page = manual().replace("\\-", "-")
    listed = {option for topic in TOPICS for option in topic.options}

    for option in OPTIONS:
        if option.name not in ("version", "debug"):
            assert option in listed
            assert all(name in page for name in option.opts)
            assert option.opts[0] in overview()


def test_each_option_has_its_field() -> None:
    names = {param.name for param in command.params} - {"version"}

    assert names == {field.name for field in dataclasses.fields(CommandLine)}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff formats man pages")
def test_the_man_page_is_clean_for_groff() -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii"], check=True, input=manual(), capture_output=True, text=True
    )

    assert done.stderr == ""


def test_the_man_page_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "man"]) == 0
    assert capfd.readouterr().out == manual()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("sshfan --max-f", "plain,--max-failures"),
        ("sshfan --kill al", "plain,always"),
        ("sshfan de", "plain,demo"),
        ("sshfan help fa", "plain,failures"),
        ("sshfan -w web1 --out", "plain,--outdir"),
    ],
)
def test_completion(sshfan: Sshfan, words: str, offered: str) -> None:
    last = str(len(words.split()) - 1)
    done = sshfan(env={"_SSHFAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": last})

    assert done.stdout.decode().splitlines() == [offered], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_has_a_script_for_each_shell(sshfan: Sshfan, shell: str) -> None:
    assert b"_SSHFAN_COMPLETE" in sshfan(env={"_SSHFAN_COMPLETE": f"{shell}_source"}).stdout
