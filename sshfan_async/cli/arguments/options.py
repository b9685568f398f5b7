"""The options of `sshfan -w NODES COMMAND`, by help topic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

    from sshfan_async.cli.arguments.share import Share

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
    # Options end at the first word of the command: in `sshfan -w web1 ls -l`, -l belongs to ls.
    "allow_interspersed_args": False,
    "max_content_width": 80,
    # clush writes --connect_timeout.
    "token_normalize_func": lambda token: token.replace("_", "-"),
}
"""Context settings of every click command."""


class _Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.3 on
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{value!r} is not a time: give a number of seconds, or 0 for no limit.", param, ctx)
        return None if seconds == 0 else seconds


class _Shares(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "shares"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Share, ...]:
        if isinstance(value, tuple):
            return value
        from sshfan_async.cli.arguments.share import parse_shares  # late, as below: it takes 1 ms

        try:
            return parse_shares(value, least=1)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _OneShare(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Share:
        from sshfan_async.cli.arguments.share import Share, parse_shares

        if isinstance(value, Share):
            return value
        try:
            found = parse_shares(value, least=0)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if len(found) != 1:
            self.fail(f"{value!r} is more than one number: give one N or P%, such as 5 or 10%", param, ctx)
        return found[0]


class _Group(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "group"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from sshfan_async.nodesets import group_names

        try:
            groups = group_names()
        except Exception:  # no groups.conf, or one of its sources fails: offer nothing
            groups = []
        return [CompletionItem(group) for group in groups if group.startswith(incomplete)]


SECONDS = _Seconds()
"""A time limit in seconds; 0 becomes None, no limit, as in pdsh."""

SCRIPT = "--script"
"""The option that ends the options: everything after its value is the script's arguments."""

_FILE = click.Path()


def _flag(*names: str, text: str) -> click.Option:
    return click.Option(names, is_flag=True, help=text)


def _value(*names: str, text: str, **settings: Any) -> click.Option:
    return click.Option(names, help=text, **settings)


HOSTS = (
    _value(
        "-w", "--hosts", "node_sets", multiple=True, metavar="NODES",
        text="Run on NODES: web[1-20,31],ops@db1:2222,@group. ^FILE reads hosts from a file, - from standard input; "
        "-NODES excludes. Repeatable.",
    ),
    _value("-x", "--exclude", "excluded", multiple=True, metavar="NODES", text="Exclude NODES. Repeatable."),
    _value(
        "-g", "--group", "groups", multiple=True, metavar="GROUP", type=_Group(),
        text="Run on a group of ClusterShell's groups.conf: -g web, -g slurm:idle. Repeatable.",
    ),
    _value(
        "-X", "--exclude-group", "excluded_groups", multiple=True, metavar="GROUP", type=_Group(),
        text="Exclude a group. Repeatable.",
    ),
    _flag("-a", "--all", "all_nodes", text="Run on all nodes of groups.conf."),
    _value(
        "--hostfile", "--machinefile", "host_files", multiple=True, metavar="FILE", type=_FILE,
        text="Run on the hosts in FILE: one node set per line; # starts a comment. Repeatable.",
    ),
    _flag("-q", "--list", "list_only", text="Print the targets, one per line. Run nothing."),
    _flag(
        "--dry-run", "dry_run",
        text="Print each target's ssh command line and the settings that override your ssh_config. Run nothing.",
    ),
)  # fmt: skip
HOW = (
    _value(
        "-f", "--fanout", type=click.IntRange(min=1), default=64, envvar="FANOUT", metavar="N",
        text="At most N hosts at once. Default: 64, or $FANOUT.",
    ),
    _value("-l", "--user", metavar="USER", text="Remote user, if NODES does not name one."),
    _value(
        "-t", "--connect-timeout", type=SECONDS, default=15.0,
        text="Time limit until the command is sent. Default: 15.",
    ),
    _value(
        "-u", "--timeout", "--command-timeout", "timeout", type=SECONDS, default=0.0,
        text="Time limit for the command. Default: none.",
    ),
    _value("--deadline", type=SECONDS, default=0.0, text="Time limit for the whole run. Default: none."),
    _value(
        "-o", "--ssh-option", "ssh_options", multiple=True, metavar="OPTION",
        text="An ssh_config option (-o Port=2022), or ssh arguments (-o '-p 2022 -i key'). Repeatable.",
    ),
    _value(
        "--ssh-config", type=click.Path(exists=True, dir_okay=False, readable=True), metavar="FILE",
        text="Use FILE instead of ~/.ssh/config and the system's ssh_config.",
    ),
    _value(
        "--kill", type=click.Choice(["stop", "always", "never"]), default="stop",
        text="When to kill the remote command. stop (default): at a time limit, or when the run is stopped. always: "
        "also when the connection is lost. never: not at all; the command is sent byte for byte.",
    ),
    _flag("-I", "--stdin", "send_stdin", text="Send standard input to every host (default: no)."),
    _value(
        SCRIPT, metavar="FILE", type=_FILE,
        text="Run the local script FILE on each host, with the interpreter of its #! line (default: sh). Everything "
        "after FILE is an argument of the script.",
    ),
    _flag("-n", "--nostdin", "no_stdin", text="Send no standard input (the default; as in clush)."),
    _value(
        "-R", "--rcmd", "--worker", "rcmd", type=click.Choice(["ssh"]),
        text="As in pdsh and clush; only ssh is supported.",
    ),
)  # fmt: skip
FAILURES = (
    _value(
        "--retries", type=click.IntRange(min=0), default=2, metavar="N",
        text="Retry a dropped connection up to N times if the command was provably not sent. Default: 2.",
    ),
    _flag(
        "-k", "--fail-fast", "fail_fast",
        text="Stop the whole run at the first failure, running commands included.",
    ),
    _value(
        "--max-failures", type=_OneShare(), metavar="N|P%",
        text="Start no more hosts after more than N failures (or P% of the hosts). Hosts in flight finish.",
    ),
    _value(
        "--batch", "batches", type=_Shares(), metavar="1,10%,...",
        text="Run in batches: 1 host, then 10% of the hosts, and so on; the last size repeats. A batch starts when "
        "all hosts of the batch before have ended, with at most --max-failures failures (per batch; default: 0).",
    ),
)  # fmt: skip
OUTPUT = (
    _flag("-b", "--gather", "gather", text="Show equal standard output once, under the node set of its hosts."),
    _flag("-B", "--gather-all", "gather_all", text="Like -b, with standard error after standard output."),
    _flag("--diff", "diff", text="Like -b, but show the other outputs as a diff from the most common one."),
    _flag("-N", "--no-prefix", "no_prefix", text="Show lines without the host's name in front."),
    _flag("--quiet", "quiet", text="Do not show the hosts' output, only failures and the summary."),
    _flag("--raw", "raw", text="Let the hosts' escape sequences reach the terminal."),
)  # fmt: skip
PROGRAMS = (
    _flag(
        "--json", "as_json",
        text="Print one JSON object per line: an outcome when each host ends, then a summary.",
    ),
    _value("--outdir", metavar="DIR", type=_FILE, text="Also write each host's standard output to a file in DIR."),
    _value("--errdir", metavar="DIR", type=_FILE, text="Also write each host's standard error to a file in DIR."),
    _value(
        "--failed-to", metavar="FILE", type=_FILE,
        text="Write the targets that are not ok to FILE, one per line, as --hostfile reads them.",
    ),
    _flag(
        "-S", "--maxrc", "largest",
        text="Exit with the largest remote exit code. A host without one counts as 255.",
    ),
)  # fmt: skip
GENERAL = (_flag("--debug", "debug", text="Show the traceback of an error."),)

WORDS = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
"""The command: everything after the options, unchanged."""


def common_options(decorated: _Decorated) -> _Decorated:
    """Add the options that every verb has."""
    debug = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    return debug(decorated)
