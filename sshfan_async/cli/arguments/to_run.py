"""Turn the command line into the `Run` that a supervisor executes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from sshfan_async.cli.arguments.hosts import select_targets
from sshfan_async.cli.arguments.script import script_command, script_text
from sshfan_async.cli.arguments.ssh_options import ssh_settings
from sshfan_async.engine.run import checked_run

if TYPE_CHECKING:
    from sshfan_async.cli.arguments.command_line import CommandLine
    from sshfan_async.engine.run import Run
    from sshfan_async.settings import Input

__all__ = ["to_run"]

_ON_STOP: dict[str, Literal["leave", "kill", "always"]] = {"stop": "kill", "always": "always", "never": "leave"}


def to_run(command_line: CommandLine) -> Run:
    """Return the run that the command line describes. Starts nothing.

    Raises:
        InvalidTarget, InvalidSetting, click.UsageError: an option or the command is invalid.

    """
    _check_stdin(command_line)
    targets = select_targets(command_line)
    if command_line.script is None and not command_line.words:
        raise click.UsageError("no command: write it after the options, as in: sshfan -w 'web[1-20]' uptime")
    command, stdin = _command_and_stdin(command_line)
    return checked_run(
        targets,
        command,
        user=command_line.user,
        fanout=command_line.fanout,
        connect_timeout=command_line.connect_timeout,
        timeout=command_line.timeout,
        deadline=command_line.deadline,
        retries=command_line.retries,
        stdin=stdin,
        on_stop=_ON_STOP[command_line.kill],
        max_output=None if command_line.gathers or command_line.as_json else 0,
        ssh=ssh_settings(command_line.ssh_config, command_line.ssh_options),
    )


def _command_and_stdin(command_line: CommandLine) -> tuple[str, Input | None]:
    """Return the command and its standard input."""
    if command_line.script is not None:
        text = script_text(command_line.script)
        return script_command(text, command_line.words), text
    # Not sys.stdin: it is None if descriptor 0 was closed at startup.
    return " ".join(command_line.words), open(0, "rb", closefd=False) if command_line.send_stdin else None


def _check_stdin(command_line: CommandLine) -> None:
    """Refuse options that use standard input twice."""
    if command_line.send_stdin and command_line.script is not None:
        raise click.UsageError("-I and --script cannot be used together: the script is sent as standard input")
    if command_line.send_stdin and command_line.no_stdin:
        raise click.UsageError("-I and -n cannot be used together: -I sends standard input, -n does not")
    listed = any(piece.strip() == "-" for value in command_line.node_sets for piece in value.split(","))
    if command_line.send_stdin and listed:
        raise click.UsageError("-I and -w - cannot be used together: both read standard input")
