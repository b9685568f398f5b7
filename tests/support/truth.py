"""What the outcome of a host must say, and the endings of a command that are the same with any server."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import HostFinished, HostOutput, Outcome, Phase, Report, Status, events, fan_out
from tests.support.processes import PATIENCE, until

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet


@dataclass(frozen=True)
class Truth:
    """What the outcome must say; `reason` is a regular expression."""

    status: Status
    sent: bool
    exit_code: int | None = None
    phase: Phase = Phase.CLOSE
    clock: str | None = None
    reason: str = ""
    attempts: int = 1
    more: dict[str, Any] = field(default_factory=dict)

    def check(self, outcome: Outcome) -> None:
        told = {
            "status": outcome.status,
            "sent": outcome.sent,
            "exit_code": outcome.exit_code,
            "phase": outcome.phase,
            "clock": outcome.clock,
            "attempts": outcome.attempts,
            **{name: getattr(outcome, name) for name in self.more},
        }
        wanted = {name: getattr(self, name) for name in told if name not in self.more} | self.more
        assert told == wanted, outcome
        assert re.search(self.reason, outcome.reason), outcome.reason
        assert "\n" not in outcome.reason
        assert outcome.ok == (outcome.reason == "")
        seconds = [spent for phase, spent in outcome.phases if phase is not Phase.QUEUED]
        assert sum(seconds) == pytest.approx(outcome.elapsed, abs=0.001)
        assert min(seconds, default=0) >= 0


async def one(fleet: SshdFleet, host: str, command: str = "echo ran", **options: Any) -> Outcome:
    report: Report = await fan_out(host, command, **{"ssh": fleet.ssh, "retries": 0, **options})
    return report[host]


COMMANDS = {
    "true": Truth(Status.OK, True, 0),
    "exit 3": Truth(Status.FAILED, True, 3, reason="exited with 3$"),
    "exit 255": Truth(Status.FAILED, True, 255, reason="exited with 255$"),
    "nonesuch-command": Truth(Status.FAILED, True, 127),
    "kill -9 $$": Truth(Status.SIGNALLED, True, reason="signal"),
    "kill -TERM $$": Truth(Status.SIGNALLED, True, reason="signal"),
    "exec >&- 2>&-; exit 4": Truth(Status.FAILED, True, 4),
    "echo 'debug1: Exit status 0\r'\nexit 5": Truth(Status.FAILED, True, 5),
    "printf 'ssh: connect to host x port 22: Connection refused\\r\\n' >&2; exit 255": Truth(
        Status.FAILED, True, 255
    ),
}


async def running_command(fleet: SshdFleet, tmp_path: Path, **options: Any) -> tuple[asyncio.Task[Outcome], int, int]:
    """Start a command, and wait for its output: what the server has not sent yet is lost if the server is killed.

    Return its task, the pid of the command, and the pid of its session at the server.
    """
    told, arrived = tmp_path / "told", asyncio.Event()
    command = f"echo before; echo $$ $PPID >{told}.new; mv {told}.new {told}; exec sleep 60"

    async def follow() -> Outcome:
        given = {"ssh": fleet.ssh, "retries": 0, "on_stop": "leave", **options}
        async with events("node001", command, **given) as happenings:
            async for event in happenings:
                if isinstance(event, HostOutput):
                    arrived.set()
                if isinstance(event, HostFinished):
                    return event.outcome
        raise AssertionError("every host has an outcome")

    task = asyncio.create_task(follow())
    async with asyncio.timeout(PATIENCE):
        await arrived.wait()
    await until(told.exists)
    command_pid, server = map(int, told.read_text().split())
    return task, command_pid, server
