"""`sshfan -w NODES COMMAND...`: run a command on many hosts (the default verb)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from sshfan_async import __version__
from sshfan_async.cli.arguments.command_line import CommandLine
from sshfan_async.cli.arguments.options import (
    FAILURES,
    GENERAL,
    HOSTS,
    HOW,
    OUTPUT,
    PROGRAMS,
    SCRIPT,
    SETTINGS,
    WORDS,
)

if TYPE_CHECKING:
    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.cli.display.choice import DisplayChoice, Mode

__all__ = ["command"]


class _Command(click.Command):
    """The click command. `--help` shows an overview: all options together do not fit one screen."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for index, argument in enumerate(args):
            name, has_value, _ = argument.partition("=")
            if name == SCRIPT and self._takes_script(args[:index]):
                end = index + (1 if has_value else 2)
                if end <= len(args) and args[end : end + 1] != ["--"]:
                    args = [*args[:end], "--", *args[end:]]
                break
        return super().parse_args(ctx, args)

    def _takes_script(self, before: list[str]) -> bool:
        """Return whether `--script` after `before` is our option, not a value or part of the command."""
        trial = self.context_class(self, resilient_parsing=True, **self.context_settings)
        super().parse_args(trial, [*before, SCRIPT, "FILE"])
        taken: bool = trial.params["script"] == "FILE"
        return taken

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from sshfan_async.cli.help_text.topics import overview

        formatter.write(overview())


def _run(**params: Any) -> int:
    command_line = CommandLine(**params)
    if command_line.list_only:
        return _list(command_line)
    _check(command_line)
    from sshfan_async.cli.arguments.to_run import to_run

    run = to_run(command_line)
    if command_line.dry_run:
        from sshfan_async.cli.verbs.dry_run import dry_run

        return dry_run(run)
    from sshfan_async.cli.execution.execute import execute
    from sshfan_async.cli.execution.rollout import Rules

    if command_line.failed_to is not None:
        from sshfan_async.cli.execution.failed_to import prepare_failed_to, write_failed_to

        prepare_failed_to(command_line.failed_to)
    choice = _choice(command_line, list(run.targets.values()))
    rules = Rules(
        fail_fast=command_line.fail_fast,
        max_failures=command_line.max_failures,
        batches=command_line.batches,
    )
    conclusion = execute(run, choice, rules, largest=command_line.largest)
    if command_line.failed_to is not None:
        write_failed_to(command_line.failed_to, conclusion.report)
    _summarise(conclusion, command_line)
    return conclusion.exit_code


def _list(command_line: CommandLine) -> int:
    from sshfan_async.cli.arguments.hosts import select_targets
    from sshfan_async.cli.output import STDOUT, write

    write(STDOUT, "".join(f"{target}\n" for target in select_targets(command_line)).encode())
    return 0


def _check(command_line: CommandLine) -> None:
    """Refuse options that contradict each other."""
    shown = {
        "-b, -B or --diff": command_line.gathers,
        "--json": command_line.as_json,
        "--quiet": command_line.quiet,
        "-N": command_line.no_prefix,
    }
    several = [name for name, is_given in shown.items() if is_given]
    if len(several) > 1:
        raise click.UsageError(f"{several[0]} and {several[1]} cannot be used together")


def _choice(command_line: CommandLine, hosts: list[str]) -> DisplayChoice:
    from sshfan_async.cli.display.choice import DisplayChoice

    mode: Mode = "live"
    if command_line.as_json:
        mode = "json"
    elif command_line.quiet:
        mode = "nothing"
    elif command_line.gathers:
        mode = "gather"
    files = None
    if command_line.outdir is not None or command_line.errdir is not None:
        from sshfan_async.cli.display.host_files import HostFiles

        files = HostFiles(stdout=command_line.outdir, stderr=command_line.errdir, hosts=hosts)
    return DisplayChoice(
        mode=mode,
        with_stderr=command_line.gather_all,
        as_diff=command_line.diff,
        prefixed=not command_line.no_prefix,
        raw=command_line.raw,
        files=files,
    )


def _summarise(conclusion: Conclusion, command_line: CommandLine) -> None:
    from sshfan_async.cli.display.summary import failure_lines, summary
    from sshfan_async.cli.output import STDERR, say, write

    if os.isatty(STDERR):
        from sshfan_async.cli.display.console import stderr_console
        from sshfan_async.cli.execution.rerun import run_again, typed_options

        options = typed_options(click.get_current_context())
        again = run_again(conclusion.report, options, command_line.words, command_line.failed_to)
        write(STDERR, summary(conclusion, stderr_console(), again))
    else:
        for line in failure_lines(conclusion.report):
            say(f"sshfan: {line}")


command = _Command(
    "sshfan",
    context_settings=SETTINGS,
    params=[*HOSTS, *HOW, *FAILURES, *OUTPUT, *PROGRAMS, *GENERAL, WORDS],
    callback=_run,
    help="Run COMMAND on many hosts at once, with your own ssh and ssh_config.",
    options_metavar="-w NODES [OPTIONS]",
)
click.version_option(__version__, message="%(prog)s %(version)s")(command)
