"""`sshfan -w NODES COMMAND...`: the command without a verb."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from sshfan_async import __version__
from sshfan_async.cli.arguments.given import Given
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
    from sshfan_async.cli.display.choice import DisplayChoice, What

__all__ = ["command"]


class _Command(click.Command):
    """Its options are more than a screen: `--help` shows an overview, and each topic has a screen of its own."""

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
        """Return whether `--script` after the arguments `before` is an option, and not a value or the command's."""
        trial = self.context_class(self, resilient_parsing=True, **self.context_settings)
        super().parse_args(trial, [*before, SCRIPT, "FILE"])
        taken: bool = trial.params["script"] == "FILE"
        return taken

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from sshfan_async.cli.help_text.topics import overview

        formatter.write(overview())


def _run(**params: Any) -> int:
    given = Given(**params)
    if given.list_only:
        return _list(given)
    _check(given)
    from sshfan_async.cli.arguments.to_run import to_run

    run = to_run(given)
    if given.dry_run:
        from sshfan_async.cli.verbs.dry_run import dry_run

        return dry_run(run)
    from sshfan_async.cli.execution.execute import execute
    from sshfan_async.cli.execution.rollout import Rules

    if given.failed_to is not None:
        from sshfan_async.cli.execution.failed_to import prepare_failed_to, write_failed_to

        prepare_failed_to(given.failed_to)
    choice = _choice(given, list(run.targets.values()))
    rules = Rules(fail_fast=given.fail_fast, max_failures=given.max_failures, batches=given.batches)
    conclusion = execute(run, choice, rules, largest=given.largest)
    if given.failed_to is not None:
        write_failed_to(given.failed_to, conclusion.report)
    _summarise(conclusion, given)
    return conclusion.exit_code


def _list(given: Given) -> int:
    from sshfan_async.cli.arguments.hosts import chosen
    from sshfan_async.cli.output import STDOUT, write

    write(STDOUT, "".join(f"{target}\n" for target in chosen(given)).encode())
    return 0


def _check(given: Given) -> None:
    """Refuse options that contradict each other."""
    shown = {
        "-b, -B or --diff": given.gather or given.gather_all or given.diff,
        "--json": given.as_json,
        "--quiet": given.quiet,
        "-N": given.no_prefix,
    }
    several = [name for name, is_given in shown.items() if is_given]
    if len(several) > 1:
        raise click.UsageError(f"{several[0]} and {several[1]} exclude each other")


def _choice(given: Given, hosts: list[str]) -> DisplayChoice:
    from sshfan_async.cli.display.choice import DisplayChoice

    what: What = "live"
    if given.as_json:
        what = "json"
    elif given.quiet:
        what = "nothing"
    elif given.gather or given.gather_all or given.diff:
        what = "gather"
    files = None
    if given.outdir is not None or given.errdir is not None:
        from sshfan_async.cli.display.host_files import HostFiles

        files = HostFiles(stdout=given.outdir, stderr=given.errdir, hosts=hosts)
    return DisplayChoice(
        what=what,
        with_stderr=given.gather_all,
        as_diff=given.diff,
        named=not given.no_prefix,
        raw=given.raw,
        files=files,
    )


def _summarise(conclusion: Conclusion, given: Given) -> None:
    from sshfan_async.cli.display.summary import failure_lines, summary
    from sshfan_async.cli.output import STDERR, say, write

    if os.isatty(STDERR):
        from sshfan_async.cli.display.console import stderr_console
        from sshfan_async.cli.execution.rerun import options_given, run_again

        options = options_given(click.get_current_context())
        again = run_again(conclusion.report, options, given.words, given.failed_to)
        write(STDERR, summary(conclusion, stderr_console(), again))
    else:
        for line in failure_lines(conclusion.report):
            say(f"sshfan: {line}")


command = _Command(
    "sshfan",
    context_settings=SETTINGS,
    params=[*HOSTS, *HOW, *FAILURES, *OUTPUT, *PROGRAMS, *GENERAL, WORDS],
    callback=_run,
    help="Run COMMAND on many hosts at once, with the ssh and the ssh_config that you have.",
    options_metavar="-w NODES [OPTIONS]",
)
click.version_option(__version__, message="%(prog)s %(version)s")(command)
