from __future__ import annotations

from sshfan_async.cli.arguments.command_line import CommandLine
from sshfan_async.cli.verbs.run import command


def test_each_option_has_its_field() -> None:
    names = {param.name for param in command.params} - {"version"}

    assert names == set(CommandLine._fields)
