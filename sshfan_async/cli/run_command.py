"""`sshfan -w NODES COMMAND...`: the command without a verb."""

from __future__ import annotations

import os

import click

from sshfan_async import __version__
from sshfan_async.cli.options import SECONDS, SETTINGS, command_words, common_options

__all__ = ["command"]

_EPILOG = """\
\b
Examples:
  sshfan -w 'web[1-20]' uptime
  sshfan -w db1,ops@db2:2222 -u 60 'df -h /; cat /proc/loadavg'
  sshfan demo             forty hosts of a private sshd on this machine

\b
Exit code: 0 every host ok; 1 a command failed, timed out or was lost;
2 usage; 3 a host was never reached (wins over 1); 130 interrupted.
"""


@click.command(context_settings=SETTINGS, epilog=_EPILOG, options_metavar="-w NODES [OPTIONS]")
@click.option(
    "-w", "--hosts", "node_sets", multiple=True, metavar="NODES",
    help="Where: a node set such as web[1-20,31],ops@db1:2222,@group. Repeatable.",
)  # fmt: skip
@click.option(
    "-f", "--fanout", type=click.IntRange(min=1), default=64, metavar="N",
    help="Hosts at once, 64 unless told.",
)  # fmt: skip
@click.option("-l", "--user", metavar="USER", help="Remote user, where NODES name none.")
@click.option(
    "-t", "--connect-timeout", type=SECONDS, default=15.0,
    help="Seconds until the command is sent, 15 unless told; 0: no limit.",
)  # fmt: skip
@click.option(
    "-u", "--timeout", type=SECONDS, default=0.0,
    help="Seconds for the command; 0, the default: no limit.",
)  # fmt: skip
@click.option(
    "--ssh-config", type=click.Path(exists=True, dir_okay=False, readable=True), metavar="FILE",
    help="Use FILE in place of ~/.ssh/config and the system's ssh_config.",
)  # fmt: skip
@click.version_option(__version__, message="%(prog)s %(version)s")
@common_options
@command_words
def command(
    node_sets: tuple[str, ...],
    fanout: int,
    user: str | None,
    connect_timeout: float,
    timeout: float,
    ssh_config: str | None,
    debug: bool,
    words: tuple[str, ...],
) -> int:
    """Run COMMAND on many hosts at once, with the ssh and the ssh_config that you have.

    The options come first; COMMAND and all that follows it reaches the remote shell as it stands.
    """
    if not node_sets:
        raise click.UsageError("no hosts: name them with -w, as in: sshfan -w 'web[1-20]' uptime")
    if not words:
        raise click.UsageError("no command: write it after the options, as in: sshfan -w 'web[1-20]' uptime")
    from sshfan_async.cli.console import stderr_console
    from sshfan_async.cli.execute import execute
    from sshfan_async.cli.output import STDERR, say, write
    from sshfan_async.cli.plan import plan
    from sshfan_async.cli.summary import failure_lines, summary
    from sshfan_async.settings import Ssh
    from sshfan_async.targets import nodes

    run = plan(
        [target for node_set in node_sets for target in nodes(node_set)],
        " ".join(words),
        user=user,
        fanout=fanout,
        connect_timeout=connect_timeout,
        timeout=timeout,
        ssh=Ssh(config_file=ssh_config),
    )
    console = stderr_console()
    conclusion = execute(run, console)
    if os.isatty(STDERR):
        write(STDERR, summary(conclusion, console))
    else:
        for line in failure_lines(conclusion.report):
            say(f"sshfan: {line}")
    return conclusion.exit_code
