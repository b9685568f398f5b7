"""The clocks of one attempt."""

from __future__ import annotations

import functools
import os
import signal
import time
from typing import TYPE_CHECKING

from sshfan_async import Phase, Status, fan_out
from tests.support.listeners import listening, stall
from tests.support.processes import children

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from sshfan_async import Ssh
    from sshfan_async.testing import SshdFleet


async def test_time_until_the_command_is_sent_does_not_count_for_timeout(fleet: SshdFleet) -> None:
    # The connection takes longer than the command may.
    # `sh -c`, because ssh puts `exec` before the command line (sshconnect.c: ssh_proxy_connect).
    proxy = f"sh -c 'sleep 1; exec ssh -F {fleet.ssh_config} -W 127.0.0.1:{fleet.port} node001'"
    fleet.add_host("slow-way", options={"ProxyCommand": proxy})
    outcome = (await fan_out("slow-way", "sleep 0.3", timeout=0.7, ssh=fleet.ssh))["slow-way"]
    assert outcome.ok, outcome
    assert outcome.elapsed > 1.3


async def test_time_of_the_command_does_not_count_for_connect_timeout(fleet: SshdFleet) -> None:
    outcome = (await fan_out("node001", "sleep 1", connect_timeout=0.7, ssh=fleet.ssh))["node001"]
    assert outcome.ok, outcome


async def test_connect_timeout_holds_per_attempt(fleet: SshdFleet) -> None:
    with listening(functools.partial(stall)) as listener:
        fleet.add_host("silent", options={"Port": str(listener.port)})
        began = time.monotonic()
        outcome = (await fan_out("silent", "true", connect_timeout=0.3, retries=2, ssh=fleet.ssh))["silent"]
        assert 0.3 <= outcome.elapsed <= time.monotonic() - began
    assert (outcome.status, outcome.clock, outcome.phase) == (Status.TIMED_OUT, "connect_timeout", Phase.HANDSHAKE)
    assert outcome.attempts == 1


async def test_deadline_ends_what_runs_and_keeps_the_others_from_starting(fleet: SshdFleet) -> None:
    hosts = fleet.hosts[:5]
    began = time.monotonic()
    report = await fan_out(hosts, "echo so far; sleep 60", fanout=2, deadline=1, ssh=fleet.ssh)
    took = time.monotonic() - began
    assert [outcome.status for outcome in report] == ["timed_out"] * 2 + ["not_run"] * 3
    assert {outcome.clock for outcome in report} == {"deadline"}
    started, never = report[hosts[0]], report[hosts[4]]
    assert (started.sent, started.phase, started.stdout, started.attempts) == (True, Phase.RUN, b"so far\n", 1)
    assert started.reason == "the run's deadline of 1.0 s passed in run"
    assert (never.sent, never.phase, never.attempts, never.started_at) == (False, Phase.QUEUED, 0, None)
    assert never.reason == "never started: the run's deadline passed before this host's turn"
    assert never.phases.queued is not None
    assert 1 <= never.phases.queued <= took < 60
    assert report.exit_code == 3


async def test_deadline_before_timeout_is_the_one_named(fleet: SshdFleet) -> None:
    outcome = (await fan_out("node001", "sleep 60", timeout=30, deadline=0.5, ssh=fleet.ssh))["node001"]
    assert outcome.clock == "deadline"


async def test_deadline_ends_the_wait_for_another_try(fleet: SshdFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sshfan_async.engine.pacing._BACK_OFF", 30)
    with listening(lambda number, connection: None) as listener:
        fleet.add_host("drops", options={"Port": str(listener.port)})
        began = time.monotonic()
        outcome = (await fan_out("drops", "true", deadline=0.7, ssh=fleet.ssh))["drops"]
    assert time.monotonic() - began < 30  # the back-off
    assert (outcome.status, outcome.attempts) == (Status.DROPPED, 1)


async def test_stand_in_counts_as_sent_at_its_launch(stand_in: Callable[..., Ssh]) -> None:
    ssh = stand_in("echo hello; exec sleep 60")
    outcome = (await fan_out("web1", "true", timeout=0.3, connect_timeout=30, ssh=ssh))["web1"]
    assert (outcome.status, outcome.clock, outcome.sent) == (Status.TIMED_OUT, "timeout", True)
    assert outcome.stdout == b"hello\n"


async def test_output_of_a_stand_in_is_its_own(stand_in: Callable[..., Ssh]) -> None:
    outcome = (await fan_out("web1", "true", ssh=stand_in("echo out; echo err >&2; exit 4")))["web1"]
    assert (outcome.status, outcome.exit_code, outcome.stdout, outcome.stderr) == ("failed", 4, b"out\n", b"err\n")


async def test_child_that_ignores_term_is_killed_after_the_grace(stand_in: Callable[..., Ssh]) -> None:
    ssh = stand_in("trap '' TERM; while :; do sleep 60; done")
    before = children()
    began = time.monotonic()
    outcome = (await fan_out("web1", "true", timeout=0.2, kill_after=0.3, ssh=ssh))["web1"]
    assert outcome.status is Status.TIMED_OUT
    assert 0.2 <= outcome.elapsed <= time.monotonic() - began - 0.3  # without the grace
    assert children() == before


async def test_exit_is_seen_while_a_grandchild_holds_the_pipes(stand_in: Callable[..., Ssh], tmp_path: Path) -> None:
    ssh = stand_in(f"echo so far; sleep 60 & echo $! >{tmp_path}/pid; exit 3")
    began = time.monotonic()
    outcome = (await fan_out("web1", "true", ssh=ssh))["web1"]
    assert time.monotonic() - began < 60  # the lifetime of the grandchild
    assert (outcome.exit_code, outcome.stdout) == (3, b"so far\n")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_launch_is_stamped_at_the_launch(fleet: SshdFleet, tmp_path: Path) -> None:
    # The second host waits a second for its slot.
    report = await fan_out(["node001", "node002"], "date +%s.%N; sleep 1", fanout=1, ssh=fleet.ssh)
    for outcome in report:
        assert outcome.started_at is not None
        assert 0 < float(outcome.stdout) - outcome.started_at < 0.9
    second = report["node002"]
    assert second.phases.queued is not None
    assert second.phases.queued > 1
