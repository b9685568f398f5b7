from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sshfan_async.cli.conclusion import Conclusion
from sshfan_async.cli.display.summary import failure_lines, summary
from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.report import Report
from sshfan_async.targets import Target
from tests.support.cli_terminal import Terminal, on

if TYPE_CHECKING:
    from sshfan_async.outcome import Remote
    from sshfan_async.testing import SshdFleet


def failed(host: str, status: Status, reason: str) -> Outcome:
    return Outcome(target=Target.parse(host), host=host, status=status, reason=reason, phase=Phase.RUN)


def lines(*outcomes: Outcome) -> list[str]:
    return list(failure_lines(Report(outcomes, finished_at=time.time())))


@pytest.mark.parametrize(
    ("status", "first", "second", "together"),
    [
        (Status.UNRESOLVED, "Could not resolve hostname a1: no", "Could not resolve hostname a2: no",
         "a[1-2] (2): Could not resolve hostname <host>: no"),
        (Status.UNREACHABLE, "connect to host 10.0.0.1 port 22: refused", "connect to host fe80::1 port 22: refused",
         "a[1-2] (2): connect to host <host> port 22: refused"),
        (Status.CANCELLED, "cancelled after 1.0 s in run", "cancelled after 1.1 s in run",
         "a[1-2] (2): cancelled in run"),
        (Status.UNREACHABLE, "connect to 10.0.0.1: no", "connect to 10.0.0.1: no",
         "a[1-2] (2): connect to 10.0.0.1: no"),
    ],
)  # fmt: skip
def test_reasons_that_differ_by_the_host_only_are_one(status: Status, first: str, second: str, together: str) -> None:
    assert lines(failed("a1", status, first), failed("a2", status, second)) == [together]


def test_different_reasons_stay_apart() -> None:
    assert lines(
        failed("a1", Status.FAILED, "the command exited with 1"),
        failed("a2", Status.FAILED, "the command exited with 2"),
        failed("a3", Status.FAILED, "the command exited with 1"),
    ) == ["a[1,3] (2): the command exited with 1", "a2: the command exited with 2"]


def test_a_host_alone_keeps_its_own_reason() -> None:
    assert lines(failed("a1", Status.UNRESOLVED, "no a1")) == ["a1: no a1"]


def stopped(host: str, status: Status, reason: str, remote: Remote) -> Outcome:
    return replace(failed(host, status, reason), sent=True, remote=remote)


def test_whether_a_stopped_command_goes_on_is_told_and_parts_the_hosts() -> None:
    reason = "timed out after 1.0 s in run"
    assert lines(
        stopped("a1", Status.TIMED_OUT, reason, "left"),
        stopped("a2", Status.TIMED_OUT, reason, "unknown"),
        stopped("a3", Status.TIMED_OUT, reason, "ended"),
        stopped("a4", Status.TIMED_OUT, reason, "left"),
        failed("a5", Status.TIMED_OUT, "timed out after 1.0 s in connect"),
    ) == [
        f"a[1,4] (2): {reason}; the command was left running",
        f"a2: {reason}; the command may still be running",
        f"a3: {reason}",
        "a5: timed out after 1.0 s in connect",
    ]


def test_whether_an_interrupted_command_goes_on_is_told_once() -> None:
    assert lines(
        stopped("a1", Status.CANCELLED, "cancelled after 1.0 s in run", "left"),
        stopped("a2", Status.CANCELLED, "cancelled after 1.1 s in run", "left"),
        stopped("a3", Status.TIMED_OUT, "timed out; no kill here, and it was left running", "left"),
        stopped("a4", Status.LOST, "the connection ended", "unknown"),
    ) == [
        "a[1-2] (2): cancelled in run; the command was left running",
        "a3: timed out; no kill here, and it was left running",
        "a4: the connection ended",
    ]


@pytest.mark.parametrize("columns", [40, 120])
@pytest.mark.parametrize("run", [None, 0.5])
def test_the_names_of_the_slowest_hosts_are_whole(columns: int, run: float | None) -> None:
    outcomes = tuple(
        Outcome(
            target=Target.parse(host),
            host=host,
            status=Status.OK,
            started_at=1.0,
            phases=Phases(connect=0.005, run=run),
        )
        for host in ("bogus1", "bogus2", "bogus3")
    )
    conclusion = Conclusion(report=Report(outcomes, finished_at=2.0), seconds=1.0)
    printed = summary(conclusion, Console(file=io.StringIO(), width=columns)).decode().splitlines()

    times = "0.01 s" if run is None else "0.51 s run 0.50"
    assert printed[2:5] == [f"  {outcome.host} {times}" for outcome in outcomes]


def test_words_of_a_host_cannot_begin_a_line_of_the_summary() -> None:
    outcome = failed("a1", Status.DROPPED, "closed by a1" + " -" * 20 + " a2: the command exited with 0")
    report = Report((outcome,), finished_at=2.0)
    printed = summary(Conclusion(report=report, seconds=1.0), Console(file=io.StringIO(), width=60)).decode()

    first, *others = printed.splitlines()[1:]
    assert first.startswith("  a1: closed by a1 - -")
    assert others
    assert all(line.startswith("    ") for line in others)


def test_the_summary_tells_counts_reasons_and_times(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node[001-003],closed[1-2]", "exit 3")) as terminal:
        terminal.finish()

    screen = "\n".join(terminal.screen)
    assert re.search(r"^5 hosts in \d+\.\d s: 3 failed, 2 unreachable$", screen, re.MULTILINE)
    assert "\n  node[001-003] (3): the command exited with 3\n" in screen
    assert "\n  closed[1-2] (2): connect to host 127.0.0.1 port 1: Connection refused\n" in screen
    assert re.search(r"^slowest:\n  node00\d \d\.\d\d s .*auth \d\.\d\d", screen, re.MULTILINE)
    assert re.search(r"^p50 \d\.\d\d s, p90 \d\.\d\d s, p99 \d\.\d\d s, max \d\.\d\d s$", screen, re.MULTILINE)
    assert "sshfan: " not in screen


def test_one_host_needs_no_statistics(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node001", "echo x")) as terminal:
        assert terminal.finish() == 0

    assert terminal.screen[0] == "node001: x"
    assert re.fullmatch(r"1 host in \d+\.\d s: 1 ok", terminal.screen[1])
    assert not any(terminal.screen[2:])  # on a slow machine there was a progress line, which is erased


def test_hosts_not_run_because_of_failures_are_named(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "closed1,node[001-003]", "-f1", "--batch", "1", "true")) as terminal:
        assert terminal.finish() == 3

    screen = "\n".join(terminal.screen)
    assert re.search(r"^4 hosts in .*, ended by --max-failures: 1 unreachable, 3 not run$", screen, re.MULTILINE)
    assert "  node[001-003] (3): never started" in screen


def test_very_many_failures_are_a_few_lines_that_say_what_they_leave_out() -> None:
    outcomes = [
        failed(f"web{number * 7919 % 1_000_003}", Status.FAILED, f"reason {number % 200}") for number in range(60_000)
    ]
    told = lines(*outcomes)
    assert len(told) == 41
    assert max(map(len, told)) < 1200
    assert all(" more (300): reason " in line for line in told[:-1])
    assert told[-1].startswith("and 160 more reasons, for 48000 hosts (--failed-to FILE")
    printed = summary(
        Conclusion(report=Report(tuple(outcomes), finished_at=time.time()), seconds=1.0), Console(width=100)
    )
    assert len(printed) < 60_000
    assert b"and 160 more reasons" in printed
