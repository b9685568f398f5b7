from __future__ import annotations

import io
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from sshfan_async.cli.conclusion import Conclusion
from sshfan_async.cli.display.fold import folded
from sshfan_async.cli.display.summary import failure_lines, summary
from sshfan_async.nodesets import nodes
from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.report import Report
from sshfan_async.targets import Target

if TYPE_CHECKING:
    from sshfan_async.outcome import Remote


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


NAMES = st.from_regex(r"(a|b1|1\.|c-|)[0-9]{1,3}([-.x][0-9]{1,2})?(\.org)?", fullmatch=True)
OTHERS = st.sampled_from(
    ["ops@db1", "db1:2222", "ops@db1:2222", "[::1]:22", "fe80::1%eth0", "web", "10.0.0.1", "10.0.0.2"]
)


@settings(deadline=None)  # the first example imports ClusterShell
@given(st.lists(NAMES | OTHERS, min_size=1, max_size=12, unique=True))
def test_a_folded_set_expands_to_the_same_hosts(names: list[str]) -> None:
    assert set(nodes(folded(names))) == {Target.parse(name) for name in names}
