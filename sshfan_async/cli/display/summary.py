"""The summary of a run: counts, failures with their reasons, the slowest hosts, percentiles."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from sshfan_async.cli.display.fold import briefly_folded
from sshfan_async.cli.display.statuses import STYLES, status_name
from sshfan_async.escape import one_line
from sshfan_async.outcome import Phase, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.outcome import Outcome, Remote
    from sshfan_async.report import Report

__all__ = ["FailureGroup", "failure_groups", "failure_lines", "summary"]

_INDENT = 2
_CONTINUED = 4
"""The indent of a line that continues a reason: a reason has words of a host, and must not look like another line."""
_MOST_REASONS = 40
_SLOWEST = 3
_PERCENTILES = (50, 90, 99)
_SHORTEST_PHASE = 0.01
"""Seconds. Shorter phases are not shown."""
_STILL_RUNNING: dict[Remote, str] = {
    "left": "the command was left running",
    "unknown": "the command may still be running",
}


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Hosts that failed for the same reason, in input order."""

    status: Status
    reason: str
    hosts: tuple[str, ...]

    @property
    def label(self) -> str:
        """The hosts as a node set, followed by their number if there are several. Of very many, some are left out."""
        several = f" ({len(self.hosts)})" if len(self.hosts) > 1 else ""
        return f"{briefly_folded(self.hosts)}{several}"


def failure_groups(report: Report) -> list[FailureGroup]:
    """Group the hosts that are not `ok` by reason, in the order in which the reasons first occur.

    Reasons count as equal if they differ only in the host's name or address, or in the seconds until a cancellation.
    A reason includes whether the command may still be running.
    """
    by_reason: dict[tuple[Status, str], list[Outcome]] = {}
    for outcome in report.not_ok:
        by_reason.setdefault((outcome.status, _with_remote(_without_host(outcome), outcome)), []).append(outcome)
    groups = []
    for (status, general), outcomes in by_reason.items():
        reasons = {_with_remote(outcome.reason, outcome) for outcome in outcomes}
        reason = reasons.pop() if len(reasons) == 1 else general
        groups.append(FailureGroup(status, one_line(reason), tuple(outcome.host for outcome in outcomes)))
    return groups


def failure_lines(report: Report) -> Iterator[str]:
    """Yield one line for each reason, with its hosts, and at the end how much was left out."""
    groups = failure_groups(report)
    for group in groups[:_MOST_REASONS]:
        yield f"{group.label}: {group.reason}"
    if len(groups) > _MOST_REASONS:
        yield _left_out(groups)


def _left_out(groups: Sequence[FailureGroup]) -> str:
    more = groups[_MOST_REASONS:]
    hosts = sum(len(group.hosts) for group in more)
    return f"and {len(more)} more reasons, for {hosts} hosts (--failed-to FILE lists the hosts, --json the reasons)"


def summary(conclusion: Conclusion, console: Console, again: str | None = None) -> bytes:
    """Return the summary of a run, in the width and colours of `console`.

    `again` is the command line that runs again on the failed hosts.
    """
    report = conclusion.report
    with console.capture() as captured:
        _print_counts(conclusion, console)
        _print_failures(report, console)
        if len(report) > 1:
            _print_times(report, console)
        if again is not None:
            # Not wrapped here: if the terminal wraps the line, it can still be copied as one line.
            console.print(f"run again: {one_line(again)}", markup=False, soft_wrap=True)
    lines = [line.rstrip(" ") for line in captured.get().splitlines()]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _with_remote(reason: str, outcome: Outcome) -> str:
    """Add to `reason` that a command that we have stopped is or may be still running."""
    if not outcome.sent or outcome.status not in (Status.TIMED_OUT, Status.CANCELLED):
        return reason
    if outcome.remote not in _STILL_RUNNING or "left running" in reason:
        return reason
    return f"{reason}; {_STILL_RUNNING[outcome.remote]}"


def _without_host(outcome: Outcome) -> str:
    if outcome.status is Status.CANCELLED:
        return f"cancelled in {outcome.phase}"
    return " ".join(_without_name(word, outcome) for word in outcome.reason.split(" "))


def _without_name(word: str, outcome: Outcome) -> str:
    bare = word.strip("[]():,.'\"")
    if bare in (outcome.target.host, outcome.host) or _is_address(bare):
        return word.replace(bare, "<host>")
    return word


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def _print_counts(conclusion: Conclusion, console: Console) -> None:
    from rich.text import Text

    report, ended_by = conclusion.report, conclusion.ended_by
    hosts = "1 host" if len(report) == 1 else f"{len(report)} hosts"
    early = "" if ended_by is None else f", ended by {ended_by}"
    line = Text(f"{hosts} in {conclusion.seconds:.1f} s{early}: ")
    counts = [
        Text(f"{len(outcomes)} {status_name(status)}", STYLES[status])
        for status, outcomes in report.by_status.items()
    ]
    console.print(line + Text(", ").join(counts))


def _print_failures(report: Report, console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    groups = failure_groups(report)
    for group in groups[:_MOST_REASONS]:
        text = Text.assemble((group.label, STYLES[group.status]), f": {group.reason}")
        for number, line in enumerate(text.wrap(console, console.width - _CONTINUED)):
            console.print(Padding(line, (0, 0, 0, _INDENT if number == 0 else _CONTINUED)))
    if len(groups) > _MOST_REASONS:
        console.print(Padding(Text(_left_out(groups)), (0, 0, 0, _INDENT)))


def _print_times(report: Report, console: Console) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    slowest = report.slowest(_SLOWEST)
    if not slowest:
        return
    phases = [_phases(outcome) for outcome in slowest]
    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    if any(phases):  # an empty column would take width from the host names
        table.add_column(style="dim")
    for outcome, shown_phases in zip(slowest, phases, strict=True):
        cells = [Text(outcome.host), Text(f"{outcome.elapsed:.2f} s"), Text(shown_phases)]
        table.add_row(*cells[: len(table.columns)])
    console.print("slowest:")
    console.print(Padding(table, (0, 0, 0, _INDENT), expand=False))
    times = [(f"p{q}", report.percentile(q)) for q in _PERCENTILES]
    times.append(("max", report.percentile(100)))
    console.print(Text(", ").join(Text(f"{name} {seconds:.2f} s") for name, seconds in times))


def _phases(outcome: Outcome) -> str:
    shown_phases = [
        f"{phase} {seconds:.2f}"
        for phase, seconds in outcome.phases
        if phase is not Phase.QUEUED and seconds >= _SHORTEST_PHASE
    ]
    return ", ".join(shown_phases)
