"""Hosts on which the wrapper does not run, starts late, cannot end the command, or is imitated by the command."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING, Literal

import pytest

from sshfan_async import Fleet, HostFinished, HostPhase, Phase, Status, events, fan_out
from sshfan_async.testing import SshdFleet
from tests.support.marked import Mark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def mark() -> Iterator[Mark]:
    mark = Mark()
    yield mark
    mark.kill()


DENIES = """sh -c 'echo "denied: ${SSH_ORIGINAL_COMMAND%% *}" >&2; exit 1'"""


def forcing(command: str) -> SshdFleet:
    return SshdFleet(1, sshd_options={"KexAlgorithms": "curve25519-sha256", "ForceCommand": command})


@pytest.mark.parametrize(("on_stop", "said"), [("leave", ""), ("kill", "the clean-up wrapper did not run there")])
async def test_forced_command_is_told_from_ours(on_stop: Literal["leave", "kill"], said: str) -> None:
    with forcing("echo forced") as fleet:
        outcome = (await fan_out("node001", "exit 3", on_stop=on_stop, ssh=fleet.ssh))["node001"]
    assert (outcome.status, outcome.stdout) == (Status.OK, b"forced\n")
    assert outcome.reason.partition(" (")[0] == said


async def test_refused_wrapper_is_told_from_a_failed_command() -> None:
    with forcing(DENIES) as fleet:
        outcome = (await fan_out("node001", "uptime", stdin=b"abc", ssh=fleet.ssh))["node001"]
    assert (outcome.status, outcome.exit_code, outcome.stderr) == (Status.FAILED, 1, b"denied: exec\n")
    assert "the clean-up wrapper did not run there" in outcome.reason


async def test_nothing_is_claimed_of_a_forced_command_that_hangs(mark: Mark) -> None:
    with forcing(mark.sleep) as fleet:
        report = await fan_out("node001", "true", timeout=0.3, kill_after=0.3, ssh=fleet.ssh)
        assert [(each.status, each.remote) for each in report] == [(Status.TIMED_OUT, "unknown")]
        assert len(mark.commands()) == 1


NOT_RUN = "the clean-up wrapper did not run there"


@pytest.mark.parametrize("timeout", [0.3, 5.5], ids=["before the watchdog is given up", "after that"])
@pytest.mark.parametrize("on_stop", ["kill", "always"])
async def test_stopped_command_that_nothing_watched_says_so(
    mark: Mark, timeout: float, on_stop: Literal["kill", "always"]
) -> None:
    with forcing(mark.sleep) as fleet:
        (outcome,) = await fan_out("node001", "true", timeout=timeout, kill_after=0.3, on_stop=on_stop, ssh=fleet.ssh)
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
    assert NOT_RUN in outcome.reason


async def test_cancelled_command_that_nothing_watched_says_so(mark: Mark) -> None:
    with forcing(mark.sleep) as fleet:
        async with events("node001", "true", kill_after=0.3, ssh=fleet.ssh) as happenings:
            async for event in happenings:
                if isinstance(event, HostPhase) and event.phase is Phase.RUN:
                    break
        outcomes = [event.outcome async for event in happenings if isinstance(event, HostFinished)]
    assert [(each.status, each.remote, NOT_RUN in each.reason) for each in outcomes] == [
        (Status.CANCELLED, "unknown", True)
    ]


@pytest.mark.parametrize("on_stop", ["kill", "always"])
async def test_stopped_command_of_a_fleet_that_nothing_watched_says_so(
    mark: Mark, on_stop: Literal["kill", "always"]
) -> None:
    with forcing(mark.sleep) as server:
        async with Fleet("node001", ssh=server.ssh) as fleet:
            (link,) = fleet._pool._hosts.values()
            link.takes_signals = False  # as with a server before 7.9
            (outcome,) = await fleet.run("true", timeout=0.3, kill_after=0.3, on_stop=on_stop)
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
    assert NOT_RUN in outcome.reason


async def test_left_command_says_nothing_of_a_wrapper(mark: Mark) -> None:
    with forcing(mark.sleep) as fleet:
        (outcome,) = await fan_out("node001", "true", timeout=0.3, on_stop="leave", ssh=fleet.ssh)
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "left")
    assert NOT_RUN not in outcome.reason


async def test_unwatched_command_is_left(mark: Mark) -> None:
    options = {"KexAlgorithms": "curve25519-sha256", "SetEnv": "TMPDIR=/nonexistent"}
    with SshdFleet(1, sshd_options=options) as fleet:
        report = await fan_out("node001", f"cat; {mark.sleep}", stdin=b"abc", timeout=1.5, ssh=fleet.ssh)
        assert [(each.status, each.stdout, each.remote) for each in report] == [(Status.TIMED_OUT, b"abc", "left")]
        assert len(mark.commands()) == 1


@pytest.mark.parametrize("stdin", [None, b"abc"])
async def test_forced_command_that_reads_its_input_ends(stdin: bytes | None) -> None:
    with forcing("cat") as fleet:
        (outcome,) = await fan_out("node001", "uptime", stdin=stdin, timeout=10, ssh=fleet.ssh)
    assert (outcome.status, outcome.stdout) == (Status.OK, stdin or b"")
    assert "the clean-up wrapper did not run there" in outcome.reason


async def test_kill_request_is_no_input_of_a_forced_shell(tmp_path: Path) -> None:
    with forcing(f"tee {tmp_path}/read; sleep 60") as fleet:
        (outcome,) = await fan_out("node001", "uptime", timeout=0.3, kill_after=0.3, ssh=fleet.ssh)
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
    assert (tmp_path / "read").read_bytes() == b""


async def test_stop_waits_a_second_for_a_watchdog_that_has_not_reported() -> None:
    with forcing("sleep 60") as fleet:
        began = time.monotonic()
        (outcome,) = await fan_out("node001", "true", timeout=0.5, kill_after=30, ssh=fleet.ssh)
        ended = time.monotonic() - began
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "unknown")
    assert ended < 15  # with a watchdog, it would wait for half a minute


async def test_watchdog_that_reports_late_gets_the_kill_request(mark: Mark) -> None:
    with forcing('sleep 0.4; eval "$SSH_ORIGINAL_COMMAND"') as fleet:
        (outcome,) = await fan_out("node001", mark.sleep, timeout=0.2, kill_after=5, ssh=fleet.ssh)
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "ended")
    assert mark.processes() == set()


SLOW_SHELL = 'sleep 1.3; eval "$SSH_ORIGINAL_COMMAND"'


async def test_command_of_a_slow_login_shell_is_watched(mark: Mark) -> None:
    with forcing(SLOW_SHELL) as fleet:
        (outcome,) = await fan_out("node001", mark.sleep, timeout=2.5, kill_after=5, ssh=fleet.ssh)
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "ended")
    assert mark.processes() == set()


async def test_command_of_a_slow_login_shell_is_watched_in_a_fleet_too(mark: Mark) -> None:
    with forcing(SLOW_SHELL) as server:
        async with Fleet("node001", ssh=server.ssh) as fleet:
            (link,) = fleet._pool._hosts.values()
            link.takes_signals = False  # as with a server before 7.9
            (outcome,) = await fleet.run(mark.sleep, timeout=2.5, kill_after=5)
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "ended")
    assert mark.processes() == set()


async def test_session_held_open_after_the_watchdog_has_ended_the_command_is_not_waited_for(mark: Mark) -> None:
    with SshdFleet(1) as fleet:
        began = time.monotonic()
        (outcome,) = await fan_out(
            "node001", f"setsid {mark.sleep} & sleep 60", timeout=0.5, kill_after=30, ssh=fleet.ssh
        )
        ended = time.monotonic() - began
        assert len(mark.commands()) == 1
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "ended")
    assert ended < 15


async def test_command_that_nothing_can_kill_is_said_to_be_left(tmp_path: Path, mark: Mark) -> None:
    # A process of another user would be such a command. For this one, the watchdog's `grep` finds one without end.
    liar = tmp_path / "grep"
    liar.write_text("#!/bin/sh\necho /proc/999999999/stat\n")
    liar.chmod(liar.stat().st_mode | stat.S_IXUSR)
    with SshdFleet(1, sshd_options={"SetEnv": f"PATH={tmp_path}:/usr/bin:/bin"}) as fleet:
        (outcome,) = await fan_out("node001", mark.sleep, timeout=0.5, kill_after=0.3, ssh=fleet.ssh)
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "left")


FORGED = """
secret=$(tr '\\0' '\\n' <"/proc/$PPID/cmdline" 2>/dev/null; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n')
for each in $(printf '%s\\n' "$secret" | grep -E '^sshfan-[0-9a-f]{{16}}$' | sort -u); do
  echo "$each:{state}" >&2
done
exec {command}
"""


@pytest.mark.parametrize("state", ["unwatched", "ended", "left"])
async def test_command_that_knows_the_secret_cannot_survive_or_claim_anything(mark: Mark, state: str) -> None:
    command = FORGED.format(state=state, command=mark.sleep)
    with SshdFleet(1) as fleet:
        (outcome,) = await fan_out("node001", command, timeout=1, kill_after=2, ssh=fleet.ssh)
    assert f":{state}\n".encode() in outcome.stderr  # it did read the secret
    assert (outcome.status, outcome.remote) == (Status.TIMED_OUT, "ended")
    assert mark.processes() == set()


async def test_each_host_has_a_secret_of_its_own() -> None:
    command = FORGED.format(state="mine", command="true")
    with SshdFleet(3) as fleet:
        report = await fan_out(fleet.hosts[:3], command + "; sleep 0.1", ssh=fleet.ssh)
    assert all(outcome.ok for outcome in report)
