"""`sshfan demo`: show a run on the hosts of a private sshd on this machine."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from sshfan_async.cli.arguments.options import SETTINGS, common_options

if TYPE_CHECKING:
    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.testing import SshdFleet

__all__ = ["command"]

_ROLES = ("slow", "failing", "unreachable", "hanging", "slow", "failing", "slow", "failing")
"""The roles of hosts that misbehave. One host in five gets a role, in this order."""
_VARIABLE = "SSHFAN_DEMO_ROLE"
_TIMEOUT = 3.0
_CONNECT_TIMEOUT = 15.0

# Run by sh, because the login shell may be csh or fish, which have no `case`.
_SCRIPT = (
    f'case "${_VARIABLE}" in'
    " slow) sleep 1.5;;"
    " failing) echo 'this host fails on purpose' >&2; exit 3;;"
    " hanging) sleep 600;;"
    " esac; uname -srm"
)


@click.command(context_settings=SETTINGS, options_metavar="[OPTIONS]")
@click.option(
    "--hosts", "count", type=click.IntRange(1, 1000), default=40, show_default=True, metavar="N",
    help="Number of hosts, named node001 and so on.",
)  # fmt: skip
@common_options
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
def command(count: int, debug: bool, words: tuple[str, ...]) -> int:
    """Start a private sshd on this machine, run COMMAND on N hosts, show a summary.

    All hosts are names of the same sshd. Without COMMAND, some of them are slow, fail, hang or cannot be reached, on
    purpose, and the exit code is 0. Needs OpenSSH's server (sshd), but no root. Does not read or write your ~/.ssh.
    """
    from sshfan_async.cli.display.choice import DisplayChoice
    from sshfan_async.cli.display.console import stderr_console
    from sshfan_async.cli.display.summary import summary
    from sshfan_async.cli.execution.execute import execute
    from sshfan_async.cli.execution.own_process import raise_at_ctrl_c
    from sshfan_async.cli.execution.rollout import Rules
    from sshfan_async.cli.output import STDERR, say, write
    from sshfan_async.engine.run import checked_run
    from sshfan_async.testing import SshdFleet

    options = {
        "AcceptEnv": _VARIABLE,
        # A seventh of the CPU time of OpenSSH's default. Client and server share this machine.
        "KexAlgorithms": "curve25519-sha256",
    }
    raise_at_ctrl_c()
    with SshdFleet(count, sshd_options=options) as fleet:
        odd = 0 if words else _assign_roles(fleet)
        hosts = "1 host," if count == 1 else f"{count} hosts, all of them"
        say(f"{hosts} one private sshd on this machine{f'; {odd} misbehave on purpose' if odd else ''}")
        run = checked_run(
            fleet.hosts,
            " ".join(words) if words else shlex.join(["sh", "-c", _SCRIPT]),
            connect_timeout=_CONNECT_TIMEOUT,
            timeout=None if words else _TIMEOUT,
            max_output=0,
            ssh=fleet.ssh,
        )
        conclusion = execute(run, DisplayChoice(), Rules())
    write(STDERR, summary(conclusion, stderr_console()))
    return conclusion.exit_code if words else _demo_exit_code(conclusion)


def _assign_roles(fleet: SshdFleet) -> int:
    """Spread the roles over the fleet, as entries in its ssh_config, and return their number."""
    roles = _ROLES[: len(fleet.hosts) // 5]
    for number, role in enumerate(roles):
        name = fleet.hosts[(2 * number + 1) * len(fleet.hosts) // (2 * len(roles))]
        if role == "unreachable":
            fleet.add_host(name, options={"HostName": "127.0.0.1", "Port": "1"})
        else:
            fleet.add_host(name, options={"SetEnv": f"{_VARIABLE}={role}"})
    return len(roles)


def _demo_exit_code(conclusion: Conclusion) -> int:
    return 0 if conclusion.stopped_by is None else conclusion.exit_code
