"""`sshfan shell -w NODES`: run each typed line on many hosts, over connections that stay open."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from sshfan_async.cli.arguments.options import SECONDS, SETTINGS, common_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sshfan_async import SyncFleet
    from sshfan_async.cli.execution.signals import InterruptSignals
    from sshfan_async.outcome import Outcome

__all__ = ["command"]

_EXIT_WORDS = {"exit", "quit", "logout"}
_SIGNAL_CHECK = 0.2
"""Seconds between two looks for a signal at the prompt."""


@click.command(context_settings=SETTINGS, options_metavar="-w NODES [OPTIONS]")
@click.option(
    "-w", "--hosts", "node_sets", multiple=True, required=True, metavar="NODES",
    help="Run on NODES: web[1-20,31],ops@db1:2222,@group. Repeatable.",
)  # fmt: skip
@click.option(
    "-f", "--fanout", type=click.IntRange(min=1), default=64, metavar="N",
    help="Connect to at most N hosts at once. Default: 64.",
)  # fmt: skip
@click.option("-l", "--user", metavar="USER", help="Remote user, if NODES does not name one.")
@click.option(
    "-t", "--connect-timeout", type=SECONDS, default=15.0,
    help="Time limit for a connection. Default: 15; 0: no limit.",
)  # fmt: skip
@click.option(
    "-u", "--timeout", type=SECONDS, default=0.0,
    help="Time limit for each line. Default: 0, no limit.",
)  # fmt: skip
@click.option(
    "--ssh-config", type=click.Path(exists=True, dir_okay=False, readable=True), metavar="FILE",
    help="Use FILE instead of ~/.ssh/config and the system's ssh_config.",
)  # fmt: skip
@common_options
def command(
    node_sets: tuple[str, ...],
    fanout: int,
    user: str | None,
    connect_timeout: float | None,
    timeout: float | None,
    ssh_config: str | None,
    debug: bool,
) -> int:
    """Connect to many hosts once, then run each line that you type on all of them.

    Each line runs in its own shell: a `cd` lasts until the end of the line. Ctrl-C stops only the running line;
    Ctrl-D ends sshfan shell. A lost connection is opened again for the next line. The exit code is that of the last
    line.
    """
    from sshfan_async import Ssh, SyncFleet, nodes
    from sshfan_async.cli.display.summary import failure_lines
    from sshfan_async.cli.execution.own_process import collect_garbage, raise_file_limit
    from sshfan_async.cli.execution.signals import InterruptSignals
    from sshfan_async.cli.output import OutputClosed, say

    raise_file_limit()
    collect_garbage()
    fleet = SyncFleet(
        [target for node_set in node_sets for target in nodes(node_set)],
        user,
        ssh=Ssh(config_file=ssh_config),
        fanout=fanout,
        connect_timeout=connect_timeout,
    )
    signals = InterruptSignals()
    try:
        signals.install()
        with fleet:
            status = fleet.status
            for line in failure_lines(status):
                say(f"sshfan: {line}")
            say(f"{len(status) - len(status.not_ok)} of {len(status)} hosts connected")
            code = status.exit_code
            for line in _lines(signals):
                code = _run(fleet, line, timeout, signals)
    except (KeyboardInterrupt, OutputClosed):
        if signals.received is None:
            raise
    return code if signals.received is None else 128 + signals.received


def _lines(signals: InterruptSignals) -> Iterator[str]:
    """Yield the lines to run, from a prompt on a terminal or else from standard input, until a signal ends it."""
    from sshfan_async.cli.output import STDOUT, write

    prompts = os.isatty(0)
    if prompts:
        with suppress(ImportError):
            import readline  # noqa: F401, gives input() line editing and a history
    while signals.received is None:
        try:
            with _signals_are_seen():
                line = input("sshfan> ") if prompts else sys.stdin.readline()
        except KeyboardInterrupt:
            if signals.received is None:
                write(STDOUT, b"\n")
            continue
        except EOFError:
            write(STDOUT, b"\n")
            return
        if line.strip() in _EXIT_WORDS or (line == "" and not prompts):
            return
        if line.strip() != "":
            yield line.rstrip("\n")


@contextmanager
def _signals_are_seen() -> Iterator[None]:
    """Run the handler of a signal that another thread got, or that came just before this wait for a line.

    Python runs it when the wait is interrupted (Modules/readline.c, Python/fileutils.c), so a timer interrupts it.
    """
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, _SIGNAL_CHECK, _SIGNAL_CHECK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _run(fleet: SyncFleet, line: str, timeout: float | None, signals: InterruptSignals) -> int:
    """Run `line` on all hosts and return its exit code."""
    from sshfan_async.cli.display.summary import failure_lines
    from sshfan_async.cli.output import STDERR, say, write
    from sshfan_async.report import Report

    ended: list[Outcome] = []
    lowest_code = 0
    try:
        with fleet.stream(line, timeout=timeout) as outcomes:
            for outcome in outcomes:
                ended.append(outcome)
                _show(outcome)
    except KeyboardInterrupt:
        if signals.received is not None:
            raise
        if os.isatty(STDERR):
            write(STDERR, b"\n")  # the terminal has echoed `^C` on this line
        lowest_code = 1  # the other hosts did not finish
        say(f"interrupted: {len(ended)} of {len(fleet.status)} hosts had ended")
    report = Report(tuple(ended), finished_at=time.time())
    for failure in failure_lines(report):
        say(f"sshfan: {failure}")
    return max(lowest_code, report.exit_code)


def _show(outcome: Outcome) -> None:
    from sshfan_async.cli.display.lines import Lines, LineStyle
    from sshfan_async.cli.output import STDERR, STDOUT, write

    for descriptor, output in ((STDOUT, outcome.open_stdout()), (STDERR, outcome.open_stderr())):
        lines = Lines(outcome.host, LineStyle(escapes=os.isatty(descriptor)))
        with output:
            while data := output.read(256 * 1024):
                write(descriptor, lines.feed(data))
        write(descriptor, lines.end())
