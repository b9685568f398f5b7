"""The command line: choose the verb, and turn every error into one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from sshfan_async.cli.execution import own_process
from sshfan_async.cli.execution.signals import leave_with
from sshfan_async.cli.output import OutputClosed, OutputFailed, output_error, say
from sshfan_async.errors import FleetUnavailable, InvalidSetting, InvalidTarget, SshfanError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_VERBS = {
    "demo": "sshfan_async.cli.verbs.demo",
    "shell": "sshfan_async.cli.verbs.shell",
    "help": "sshfan_async.cli.verbs.help",
    "--help": "sshfan_async.cli.verbs.help",
    "-h": "sshfan_async.cli.verbs.help",
}
"""The first arguments that select a verb, and the modules that define the verbs' `command`."""
_DEFAULT_VERB = "sshfan_async.cli.verbs.run"

_FAILED = 1
_USAGE = 2
_INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h: a bug in sshfan, not a failure of a host."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: `sys.argv[1:]`) and return its exit code."""
    own_process.open_standard_descriptors()
    own_process.restore_sigchld()
    code = _main(arguments)
    leave_with(code)
    return code


def _main(arguments: Sequence[str] | None) -> int:
    instruction = os.environ.get("_SSHFAN_COMPLETE")
    if instruction is not None:
        code: int = import_module("sshfan_async.cli.verbs.completion").complete(instruction, _VERBS)
        return code
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt as interrupt:
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    except OutputClosed as closed:
        own_process.discard_standard_output()
        return 128 + closed.by
    except OutputFailed as error:
        own_process.discard_standard_output()
        say(f"sshfan: {error}")
        return _FAILED


def _run(arguments: Sequence[str]) -> int:
    debug = False
    try:
        command, name, rest = _command(arguments)
        with _context(command, name, rest) as context:
            debug = context.params.get("debug", False)
            code: int = command.invoke(context)
            return code
    except click.exceptions.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        raise OutputClosed from None
    except (OutputClosed, OutputFailed):
        raise
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        else:
            say(f"sshfan: {_message(error)}")
        return _exit_code(error)


def _command(arguments: Sequence[str]) -> tuple[click.Command, str, list[str]]:
    """Return the click command to run, its name in messages, and its arguments."""
    verb = _VERBS.get(arguments[0]) if arguments else None
    module = import_module(_DEFAULT_VERB if verb is None else verb)
    name, rest = ("sshfan", arguments) if verb is None else (f"sshfan {arguments[0]}", arguments[1:])
    command: click.Command = module.command
    return command, name, list(rest)


def _context(command: click.Command, name: str, rest: list[str]) -> click.Context:
    try:
        return command.make_context(name, rest)
    except OSError as error:  # --help and --version print while the line is parsed
        raise output_error(error) from None


def _message(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, SshfanError):
        return str(error)
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"internal error ({type(error).__name__}: {error}): run again with --debug to see the traceback"


def _exit_code(error: Exception) -> int:
    if isinstance(error, (click.ClickException, InvalidTarget, InvalidSetting, FleetUnavailable)):
        return _USAGE
    return _FAILED if isinstance(error, SshfanError) else _INTERNAL_ERROR
