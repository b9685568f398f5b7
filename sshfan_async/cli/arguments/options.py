"""All options of `sshfan -w NODES COMMAND`, by topic: what the parser, the help, the man page and completion read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sshfan_async.cli.arguments.share import Share, parse_shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

__all__ = [
    "FAILURES",
    "GENERAL",
    "HOSTS",
    "HOW",
    "OUTPUT",
    "PROGRAMS",
    "SCRIPT",
    "SECONDS",
    "SETTINGS",
    "WORDS",
    "common_options",
]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")

SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    # Options end where the command begins, so that its own reach it: `sshfan -w web1 ls -l`.
    "allow_interspersed_args": False,
    "max_content_width": 80,
    # clush writes --connect_timeout.
    "token_normalize_func": lambda token: token.replace("_", "-"),
}
"""Settings of every click command."""


class _Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.3 on
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{value!r} is not a number of seconds, 0 or more.", param, ctx)
        return None if seconds == 0 else seconds


class _Shares(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "shares"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Share, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return parse_shares(value, least=1)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _OneShare(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Share:
        if isinstance(value, Share):
            return value
        try:
            found = parse_shares(value, least=0)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if len(found) != 1:
            self.fail(f"{value!r} is more than one number: give N or P%", param, ctx)
        return found[0]


class _Group(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "group"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem
        from ClusterShell.NodeSet import grouplist

        from sshfan_async.nodesets import group_resolver

        try:
            groups = sorted(grouplist(resolver=group_resolver()))
        except Exception:  # no groups.conf, or a source of it that fails: nothing to offer
            groups = []
        return [CompletionItem(group) for group in groups if group.startswith(incomplete)]


SECONDS = _Seconds()
"""A clock: seconds, or None if 0 was typed, which is no limit, as in pdsh."""

SCRIPT = "--script"
"""The option with whose value the options end: what follows is for the script."""

_FILE = click.Path()


def _flag(*names: str, text: str) -> click.Option:
    return click.Option(names, is_flag=True, help=text)


def _value(*names: str, text: str, **settings: Any) -> click.Option:
    return click.Option(names, help=text, **settings)


HOSTS = (
    _value(
        "-w", "--hosts", "node_sets", multiple=True, metavar="NODES",
        text="Run on NODES: web[1-20,31],ops@db1:2222,@group. ^FILE reads them from a file, - from standard input, "
        "-NODES excludes. Repeatable.",
    ),
    _value("-x", "--exclude", "excluded", multiple=True, metavar="NODES", text="Not on NODES. Repeatable."),
    _value(
        "-g", "--group", "groups", multiple=True, metavar="GROUP", type=_Group(),
        text="Run on a group of ClusterShell's groups.conf: -g web, -g slurm:idle. Repeatable.",
    ),
    _value(
        "-X", "--exclude-group", "excluded_groups", multiple=True, metavar="GROUP", type=_Group(),
        text="Not on a group. Repeatable.",
    ),
    _flag("-a", "--all", "all_nodes", text="Run on all nodes of groups.conf."),
    _value(
        "--hostfile", "--machinefile", "host_files", multiple=True, metavar="FILE", type=_FILE,
        text="Run on the hosts in FILE, one node set per line, # begins a comment. Repeatable.",
    ),
    _flag("-q", "--list", "list_only", text="Print the targets, one per line, and run nothing."),
    _flag(
        "--dry-run", "dry_run",
        text="Print each target's ssh command line, and which settings win over your ssh_config; run nothing.",
    ),
)  # fmt: skip
HOW = (
    _value(
        "-f", "--fanout", type=click.IntRange(min=1), default=64, envvar="FANOUT", metavar="N",
        text="Hosts at once, 64 unless told here or by $FANOUT.",
    ),
    _value("-l", "--user", metavar="USER", text="Remote user, where NODES name none."),
    _value(
        "-t", "--connect-timeout", type=SECONDS, default=15.0,
        text="Until the command is sent: 15 unless told, 0 for no limit.",
    ),
    _value("-u", "--timeout", "--command-timeout", "timeout", type=SECONDS, default=0.0, text="For the command."),
    _value("--deadline", type=SECONDS, default=0.0, text="For the whole run."),
    _value(
        "-o", "--ssh-option", "ssh_options", multiple=True, metavar="OPTION",
        text="Key=value of ssh_config, or arguments of ssh: -o '-p 2022 -i key'. Repeatable.",
    ),
    _value(
        "--ssh-config", type=click.Path(exists=True, dir_okay=False, readable=True), metavar="FILE",
        text="Use FILE in place of ~/.ssh/config and the system's ssh_config.",
    ),
    _value(
        "--kill", type=click.Choice(["stop", "always", "never"]), default="stop",
        text="End the remote command when we stop waiting for it (stop, the default), also when the connection dies "
        "(always), or never; never sends the command byte for byte.",
    ),
    _flag("-I", "--stdin", "send_stdin", text="Send our standard input to every host; nothing is sent unless told."),
    _value(
        SCRIPT, metavar="FILE", type=_FILE,
        text="Run the local script FILE there, by its #! or sh; all that follows FILE is its arguments.",
    ),
    _flag("-n", "--nostdin", "no_stdin", text="As in clush; it is so unless -I is given."),
    _value(
        "-R", "--rcmd", "--worker", "rcmd", type=click.Choice(["ssh"]),
        text="As in pdsh and clush; ssh is all there is.",
    ),
)  # fmt: skip
FAILURES = (
    _value(
        "--retries", type=click.IntRange(min=0), default=2, metavar="N",
        text="Try a dropped connection again, N times (2), where the command was provably not sent.",
    ),
    _flag("-k", "--fail-fast", "fail_fast", text="End the whole run at the first failure."),
    _value(
        "--max-failures", type=_OneShare(), metavar="N|P%",
        text="Start no further host after more failures than this; those in flight end.",
    ),
    _value(
        "--batch", "batches", type=_Shares(), metavar="1,10%,...",
        text="Rolling batches, the last size repeated; each begins when the one before has ended within "
        "--max-failures, which is 0 unless told and holds for each batch.",
    ),
)  # fmt: skip
OUTPUT = (
    _flag("-b", "--gather", "gather", text="Show equal standard output once, under the node set of its hosts."),
    _flag("-B", "--gather-all", "gather_all", text="The same with standard error, after the standard output."),
    _flag("--diff", "diff", text="Gather, and show what differs from the commonest output as a diff."),
    _flag("-N", "--no-prefix", "no_prefix", text="Lines without the host's name in front."),
    _flag("--quiet", "quiet", text="No output of the hosts, only the summary."),
    _flag("--raw", "raw", text="Let the hosts' escape sequences reach the terminal."),
)  # fmt: skip
PROGRAMS = (
    _flag("--json", "as_json", text="One JSON object a line: each outcome as it ends, then the summary."),
    _value("--outdir", metavar="DIR", type=_FILE, text="Also write each host's standard output to a file in DIR."),
    _value("--errdir", metavar="DIR", type=_FILE, text="Also write each host's standard error to a file in DIR."),
    _value(
        "--failed-to", metavar="FILE", type=_FILE,
        text="Write the targets that are to be tried again to FILE, as --hostfile reads them.",
    ),
    _flag("-S", "--maxrc", "largest", text="Exit with the largest remote exit code; 255 for a host without one."),
)  # fmt: skip
GENERAL = (_flag("--debug", "debug", text="On an error, show the whole traceback."),)

WORDS = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
"""All that follows the options, as it stands."""


def common_options(decorated: _Decorated) -> _Decorated:
    """Add the options that every verb has."""
    debug = click.option("--debug", is_flag=True, help="On an error, show the whole traceback.")
    return debug(decorated)
