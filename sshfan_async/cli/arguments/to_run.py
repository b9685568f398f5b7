"""What the command line says → the `Run` that a supervisor gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from sshfan_async.cli.arguments.hosts import chosen
from sshfan_async.cli.arguments.script import script_command, script_text
from sshfan_async.cli.arguments.ssh_options import ssh_settings
from sshfan_async.engine.run import checked_run

if TYPE_CHECKING:
    from sshfan_async.cli.arguments.given import Given
    from sshfan_async.engine.run import Run
    from sshfan_async.settings import Input

__all__ = ["to_run"]

_ON_STOP: dict[str, Literal["leave", "kill", "always"]] = {"stop": "kill", "always": "always", "never": "leave"}


def to_run(given: Given) -> Run:
    """Return the run.

    Raises:
        InvalidTarget, InvalidSetting, click.UsageError: nothing has been started.

    """
    _check_stdin(given)
    targets = chosen(given)
    if given.script is None and not given.words:
        raise click.UsageError("no command: write it after the options, as in: sshfan -w 'web[1-20]' uptime")
    command, stdin = _work(given)
    return checked_run(
        targets,
        command,
        user=given.user,
        fanout=given.fanout,
        connect_timeout=given.connect_timeout,
        timeout=given.timeout,
        deadline=given.deadline,
        retries=given.retries,
        stdin=stdin,
        on_stop=_ON_STOP[given.kill],
        max_output=None if given.gather or given.gather_all or given.diff or given.as_json else 0,
        ssh=ssh_settings(given.ssh_config, given.ssh_options),
    )


def _work(given: Given) -> tuple[str, Input | None]:
    """Return the command, and what it gets on its standard input."""
    if given.script is not None:
        text = script_text(given.script)
        return script_command(text, given.words), text
    # Not sys.stdin: it is None where our caller had closed it.
    return " ".join(given.words), open(0, "rb", closefd=False) if given.send_stdin else None


def _check_stdin(given: Given) -> None:
    """Refuse options that ask for standard input twice."""
    if given.send_stdin and given.script is not None:
        raise click.UsageError("-I and --script exclude each other: the script takes the command's standard input")
    if given.send_stdin and given.no_stdin:
        raise click.UsageError("-I and -n exclude each other")
    listed = any(piece.strip() == "-" for value in given.node_sets for piece in value.split(","))
    if given.send_stdin and listed:
        raise click.UsageError("-I and -w - exclude each other: standard input cannot be read twice")
