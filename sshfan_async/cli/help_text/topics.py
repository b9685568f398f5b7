"""What people read: the overview, the topics of `sshfan help`, and with them the man page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshfan_async.cli.arguments.options import FAILURES, GENERAL, HOSTS, HOW, OUTPUT, PROGRAMS

if TYPE_CHECKING:
    import click

__all__ = ["CODES", "COMPLETION", "PURPOSE", "TOPICS", "USAGE", "Topic", "overview"]

USAGE = "sshfan -w NODES [OPTIONS] COMMAND..."
PURPOSE = "Run COMMAND on many hosts at once, with the ssh and the ssh_config that you have."


@dataclass(frozen=True, slots=True)
class Topic:
    """One screen."""

    name: str
    title: str
    options: tuple[click.Option, ...]
    notes: tuple[str, ...]
    """Paragraphs."""
    examples: tuple[tuple[str, str], ...]
    """Command lines, each with what it does."""


TOPICS = (
    Topic(
        "hosts",
        "Which hosts",
        HOSTS,
        (
            "All that is named counts in the order given, each target once; then come all exclusions. Without any of "
            "these options the hosts are those in the file that $WCOLL names.",
        ),
        (
            ("sshfan -w 'web[1-20],db1' -x web7 uptime", "web1 to web20 without web7, and db1"),
            ("sshfan -g web -X down uptime", "two groups of groups.conf"),
            ("sshfan -w ^hosts.txt -w -db1 --list", "a file without db1, only listed"),
        ),
    ),
    Topic(
        "how",
        "How it runs",
        HOW,
        ("Times are in seconds, and 0 is no limit. COMMAND and all that follows it reaches the shell as it stands.",),
        (
            ("sshfan -a --script collect.py --since today", "a local script with its arguments"),
            ("tar c etc | sshfan -I -g web tar x -C /srv", "the same standard input for every host"),
        ),
    ),
    Topic(
        "failures",
        "When hosts fail",
        FAILURES,
        (
            "A host is never tried again once its command can have reached it. Hosts that were not started, or were "
            "ended, because of these options do not count for the exit code.",
        ),
        (
            ("sshfan -g web --batch 1,10% systemctl reload nginx", "one host, then tenth by tenth"),
            ("sshfan -a --max-failures 5% apt-get -q update", "start no more once too many fail"),
        ),
    ),
    Topic(
        "output",
        "What one sees",
        OUTPUT,
        (
            "Standard output goes to standard output as `host: line`, standard error likewise. In a pipe every byte "
            "passes untouched; on a terminal what could drive it is spelled out. A terminal also gets progress and a "
            "summary. NO_COLOR and TERM=dumb are respected.",
            "Ctrl-C once shows what is running, twice within a second ends everything and shows what there is. "
            "Without a terminal once is enough; a signal ignored by nohup stays ignored.",
        ),
        (
            ("sshfan -bw 'web[1-20]' uname -r", "equal output once: web[1-8,10] (9)"),
            ("sshfan -g web --diff cat /etc/resolv.conf", "who differs, and in what"),
        ),
    ),
    Topic(
        "programs",
        "For programs",
        PROGRAMS,
        (),
        (
            ("sshfan -a --json uptime | jq -r 'select(.ok == false) | .host'", "who failed"),
            ("sshfan -a --failed-to again.txt uptime", "keep who failed"),
            ("sshfan --hostfile again.txt uptime", "and try again"),
        ),
    ),
)

CODES = (
    ("0", "every host ok"),
    ("1", "a command failed, timed out or was lost somewhere"),
    ("2", "usage: nothing was started"),
    ("3", "a host's command was never sent; wins over 1"),
    ("130, 143, 129, 141", "ended by Ctrl-C, SIGTERM, a hangup, a reader that went (| head)"),
)

COMPLETION = (
    ("bash", 'eval "$(_SSHFAN_COMPLETE=bash_source sshfan)"', "~/.bashrc"),
    ("zsh", 'eval "$(_SSHFAN_COMPLETE=zsh_source sshfan)"', "~/.zshrc"),
    ("fish", "_SSHFAN_COMPLETE=fish_source sshfan | source", "~/.config/fish/completions/sshfan.fish"),
)


def overview() -> str:
    """Return the screen that `sshfan --help` shows."""
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

  Run COMMAND on many hosts at once, with the ssh and the ssh_config that you
  have. The options come first; COMMAND and all that follows it reaches the
  remote shell as it stands.

Examples:
  sshfan -w 'web[1-20]' uptime
  sshfan -w db1,ops@db2:2222 -u 60 'df -h /; cat /proc/loadavg'
  sshfan -g web -b uname -r      equal output once, under the names of its hosts
  sshfan demo                    forty hosts of a private sshd on this machine

Options, a screen for each topic:
{topics}
  sshfan help completion, sshfan help man; --version, -h, {general}

Exit code:
{codes}
  130  ended by Ctrl-C, and so on: 128 + the signal; -S: the hosts' largest
"""


def _hung(head: str, text: str) -> list[str]:
    """Return `text` wrapped to 80 columns behind `head`."""
    import textwrap

    return textwrap.wrap(
        text,
        79,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        break_long_words=False,
    )
