"""The overview of `sshfan --help` and the topics of `sshfan help`. The man page has the same texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshfan_async.cli.arguments.options import FAILURES, GENERAL, HOSTS, HOW, OUTPUT, PROGRAMS

if TYPE_CHECKING:
    import click

__all__ = ["CODES", "COMPLETION", "PURPOSE", "TOPICS", "USAGE", "Topic", "overview"]

USAGE = "sshfan -w NODES [OPTIONS] COMMAND..."
PURPOSE = "Run COMMAND on many hosts at once, with your own ssh and ssh_config."


@dataclass(frozen=True, slots=True)
class Topic:
    """One help screen."""

    name: str
    title: str
    options: tuple[click.Option, ...]
    notes: tuple[str, ...]
    """Paragraphs after the options."""
    examples: tuple[tuple[str, str], ...]
    """Pairs of a command line and its description."""


TOPICS = (
    Topic(
        "hosts",
        "Which hosts",
        HOSTS,
        (
            "Hosts start in the order given, each target once. Exclusions apply last. If no option names hosts, they "
            "are read from the file $WCOLL.",
        ),
        (
            ("sshfan -w 'web[1-20],db1' -x web7 uptime", "web1 to web20 without web7, and db1"),
            ("sshfan -g web -X down uptime", "the group web, without the hosts of the group down"),
            ("sshfan -w ^hosts.txt -w -db1 --list", "list the hosts of a file, without db1"),
        ),
    ),
    Topic(
        "how",
        "How it runs",
        HOW,
        ("Times are in seconds; 0 means no limit. COMMAND and its arguments go to the remote shell unchanged.",),
        (
            ("sshfan -a --script collect.py --since today", "run a local script with arguments"),
            ("tar c etc | sshfan -I -g web tar x -C /srv", "send the same standard input to every host"),
        ),
    ),
    Topic(
        "failures",
        "When hosts fail",
        FAILURES,
        (
            "A host is never retried if its command may have reached it. Hosts that these options stopped or did not "
            "start do not count for the exit code.",
        ),
        (
            ("sshfan -g web --batch 1,10% systemctl reload nginx", "one host first, then 10% of the hosts at a time"),
            ("sshfan -a --max-failures 5% apt-get -q update", "start no more hosts if more than 5% fail"),
        ),
    ),
    Topic(
        "output",
        "What is shown",
        OUTPUT,
        (
            "The hosts' standard output goes to standard output as `host: line`, their standard error to standard "
            "error. In a pipe or file, every byte is unchanged, except that -b, -B and --diff show the first dash of "
            "a line that looks like the rule around a header as \\x2d. On a terminal, control characters are shown "
            "as text (\\x1b). A terminal also gets a progress display and a summary. NO_COLOR and TERM=dumb are "
            "respected.",
            "On a terminal, Ctrl-C shows what is running. A second Ctrl-C within a second stops the run and shows "
            "the results so far. Without a terminal, one Ctrl-C stops the run. A signal that nohup ignores stays "
            "ignored.",
        ),
        (
            ("sshfan -bw 'web[1-20]' uname -r", "equal output once, under web[1-8,10] (9), for example"),
            ("sshfan -g web --diff cat /etc/resolv.conf", "which hosts differ, and how"),
        ),
    ),
    Topic(
        "programs",
        "For programs",
        PROGRAMS,
        (
            "A file of --outdir, --errdir or --failed-to is replaced when the host, or the run, has ended. A host to "
            "which the command was not sent keeps its old file in DIR.",
        ),
        (
            ("sshfan -a --json uptime | jq -r 'select(.ok == false) | .host'", "print the hosts that are not ok"),
            ("sshfan -a --failed-to again.txt uptime", "save the hosts that are not ok"),
            ("sshfan --hostfile again.txt uptime", "run again on those hosts"),
        ),
    ),
)

CODES = (
    ("0", "every host is ok"),
    ("1", "on some host, the command failed, timed out or was lost"),
    ("2", "usage error: nothing was started"),
    ("3", "on some host, the command was never sent (takes precedence over 1)"),
    ("70", "internal error of sshfan"),
    ("130, 143, 129, 131, 141", "stopped by SIGINT (Ctrl-C), SIGTERM, SIGHUP, SIGQUIT, SIGPIPE (| head)"),
)

COMPLETION = (
    ("bash", 'eval "$(_SSHFAN_COMPLETE=bash_source sshfan)"', "~/.bashrc"),
    ("zsh", 'eval "$(_SSHFAN_COMPLETE=zsh_source sshfan)"', "~/.zshrc"),
    ("fish", "_SSHFAN_COMPLETE=fish_source sshfan | source", "~/.config/fish/completions/sshfan.fish"),
)


def overview() -> str:
    """Return the screen of `sshfan --help`."""
    letters = {topic.name: " ".join(option.opts[0] for option in topic.options) for topic in TOPICS}
    topics = "\n".join(
        line
        for topic in TOPICS
        for line in _hung(f"  sshfan help {topic.name:<9} ", f"{topic.title.lower()}: {letters[topic.name]}")
    )
    codes = "\n".join(f"  {code:<4} {text}" for code, text in CODES[:4])
    general = " ".join(option.opts[0] for option in GENERAL)
    return f"""\
Usage: {USAGE}

  Run COMMAND on many hosts at once, with your own ssh and ssh_config. The
  options come first. COMMAND and its arguments go to the remote shell
  unchanged.

Examples:
  sshfan -w 'web[1-20]' uptime
  sshfan -w db1,ops@db2:2222 -u 60 'df -h /; cat /proc/loadavg'
  sshfan -g web -b uname -r      equal output once, under the names of its hosts
  sshfan shell -w 'web[1-20]'    run each line you type, over open connections
  sshfan demo                    try it on 40 hosts of a private local sshd

Options, one help screen for each topic:
{topics}
  sshfan help completion, sshfan help man; --version, -h, {general}

Exit code:
{codes}
  130  stopped by Ctrl-C (128 + number of the signal)
  With -S: the largest exit code of the remote commands.
"""


def _hung(head: str, text: str) -> list[str]:
    """Return `text` wrapped to 80 columns, with `head` in front of the first line."""
    import textwrap

    return textwrap.wrap(
        text,
        79,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        break_long_words=False,
    )
