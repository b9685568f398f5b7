from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sshfan_async.cli.arguments.share import Share, parse_shares
from sshfan_async.cli.execution.rollout import Rollout, Rules
from sshfan_async.outcome import Outcome, Status
from sshfan_async.targets import Target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli_program import Sshfan

GOOD = Outcome(target=Target("a"), host="a", status=Status.OK)
BAD = Outcome(target=Target("a"), host="a", status=Status.FAILED)


class Supervisor:
    def __init__(self) -> None:
        self.told: list[str] = []

    def stop(self) -> None:
        self.told.append("stop")

    def drain(self) -> None:
        self.told.append("drain")


def told(rules: Rules, *outcomes: Outcome, total: int = 10) -> list[str]:
    rollout, supervisor = Rollout(rules, total, 64), Supervisor()
    for outcome in outcomes:
        rollout.note(outcome, supervisor)
    return supervisor.told


def test_without_rules_failures_change_nothing() -> None:
    assert told(Rules(), BAD, BAD, BAD) == []


def test_fail_fast_ends_all_at_the_first_failure() -> None:
    assert told(Rules(fail_fast=True), GOOD) == []
    assert told(Rules(fail_fast=True), GOOD, BAD, BAD) == ["stop"]


@pytest.mark.parametrize(
    ("limit", "failures", "ends"),
    [
        (Share(0), 1, True),
        (Share(2), 2, False),
        (Share(2), 3, True),
        (Share(20, True), 2, False),
        (Share(25, True), 3, True),
    ],
)
def test_more_failures_than_allowed_end_the_launching(limit: Share, failures: int, ends: bool) -> None:
    assert told(Rules(max_failures=limit), *[BAD] * failures) == (["drain"] if ends else [])


def test_the_limit_holds_for_each_batch() -> None:
    rules = Rules(max_failures=Share(1), batches=(Share(2),))

    assert told(rules, BAD, GOOD, BAD, GOOD) == []
    assert told(rules, BAD, GOOD, BAD, BAD) == ["drain"]


def test_a_batch_may_have_no_failure_unless_told() -> None:
    assert told(Rules(batches=(Share(5),)), BAD) == ["drain"]


async def test_batches_let_in_the_next_hosts_when_the_last_has_ended() -> None:
    rollout, supervisor = Rollout(Rules(batches=parse_shares("1,20%", least=1)), 10, 64), Supervisor()
    limiter = rollout.limiter
    assert limiter is not None
    places = []
    for _ in range(6):
        places.append(limiter._quota)
        for _ in range(places[-1] - (places[-2] if len(places) > 1 else 0)):
            rollout.note(GOOD, supervisor)

    assert places == [1, 3, 5, 7, 9, 10]


@pytest.mark.parametrize(
    ("rules", "started", "code"),
    [
        (["-k"], 1, 1),
        (["--max-failures", "2"], 3, 1),
        (["--max-failures", "50%"], 5, 1),
        (["--batch", "2"], 1, 1),
        (["--batch", "2", "--max-failures", "1"], 2, 1),
        (["--batch", "50%,1", "--max-failures", "100%"], 8, 1),
        (["--max-failures", "8"], 8, 1),
    ],
)
def test_after_too_many_failures_no_further_host_is_started(
    on_fleet: Sshfan, rules: list[str], started: int, code: int
) -> None:
    done = on_fleet("-w", "node[001-008]", "-f1", *rules, "echo x; exit 1")

    assert done.stdout.count(b"x\n") == started
    assert (b"never started" in done.stderr) is (started < 8)
    assert done.returncode == code


def test_hosts_in_flight_run_to_their_end_except_with_fail_fast(on_fleet: Sshfan, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = f"mkdir {gate} 2>/dev/null && exit 1; until [ -e {gate}/open ]; do sleep 0.05; done; echo done"
    waiting = f"mkdir {gate} 2>/dev/null && {{ sleep 1; touch {gate}/open; exit 1; }}; {command}"
    done = on_fleet("-w", "node[001-004]", "-f2", "--max-failures", "0", waiting)
    assert done.stdout.endswith(b": done\n")
    assert done.returncode == 1

    (gate / "open").unlink()
    gate.rmdir()
    done = on_fleet("-w", "node[001-004]", "-f2", "-k", command)
    assert done.stdout == b""
    assert b"cancelled" in done.stderr
    assert done.returncode == 1
