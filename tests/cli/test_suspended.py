"""sshfan is stopped, as by Ctrl-Z, while the hosts end and a clock passes: a host that is ok has lost nothing."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cli_program import LIMIT, ssh_children
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Doorbell, Start

HOSTS = 3
CLOCK = 1.5
"""Seconds."""


def suspended(
    fleet: SshdFleet, start: Start, bell: Doorbell, release: Path, size: int, *options: str
) -> tuple[int, bytes, str]:
    """Let the hosts write `size` bytes and end while sshfan is stopped; return exit code and outputs."""
    command = (
        f"echo early; echo >{bell}; until [ -e {release} ]; do sleep 0.02; done; "
        f"head -c {size} /dev/zero | tr '\\0' x; echo; echo survived; echo >{bell}"
    )
    running = start("-w", "node[001-003]", *options, command)
    bell.wait(HOSTS)
    began = time.monotonic()
    running.send_signal(signal.SIGSTOP)
    release.touch()
    bell.wait(HOSTS)  # all of it is in the pipes, in ssh and on its way
    if size < 10_000:
        wait_until(lambda: ssh_children(fleet) == [], "every ssh to exit")
    wait_until(lambda: time.monotonic() > began + CLOCK, "the clock to pass")
    running.send_signal(signal.SIGCONT)
    stdout, stderr = running.communicate(timeout=LIMIT)
    return running.returncode, stdout, stderr.decode()


@pytest.mark.parametrize("clock", ["-u", "--deadline"])
@pytest.mark.parametrize("view", [[], ["-N"], ["-b"], ["--json"], ["--raw"]], ids=" ".join)
def test_output_of_a_host_that_ended_meanwhile_is_shown(
    fleet: SshdFleet, start: Start, bell: Doorbell, tmp_path: Path, clock: str, view: list[str]
) -> None:
    size = 5000
    code, stdout, stderr = suspended(fleet, start, bell, tmp_path / "release", size, clock, str(CLOCK), *view)
    assert code == 0, stderr
    groups = 1 if view == ["-b"] else HOSTS
    assert (stdout.count(b"early"), stdout.count(b"survived"), stdout.count(b"x" * size)) == (groups, groups, groups)


@pytest.mark.parametrize("clock", ["-u", "--deadline"])
@pytest.mark.parametrize("view", [[], ["--json"]], ids=" ".join)
def test_host_whose_output_is_not_all_there_is_not_ok(
    fleet: SshdFleet, start: Start, bell: Doorbell, tmp_path: Path, clock: str, view: list[str]
) -> None:
    size = 300_000  # more than a pipe holds
    code, stdout, stderr = suspended(fleet, start, bell, tmp_path / "release", size, clock, str(CLOCK), *view)
    if view == ["--json"]:
        outcomes = [line for line in map(json.loads, stdout.splitlines()) if "host" in line]
        ok = [outcome for outcome in outcomes if outcome["status"] == "ok"]
        assert [len(outcome["stdout"]) for outcome in ok] == [size + len("early\n\nsurvived\n")] * len(ok)
    else:
        named = re.search(r"(\d) ok", stderr)
        ok_count = HOSTS if code == 0 else 0 if named is None else int(named[1])
        assert stdout.count(b"survived") >= ok_count
        assert len(re.findall(rb"x{%d}" % size, stdout)) >= ok_count


def test_output_of_every_host_is_in_its_file(fleet: SshdFleet, start: Start, bell: Doorbell, tmp_path: Path) -> None:
    code, _, stderr = suspended(
        fleet, start, bell, tmp_path / "release", 5000, "-u", str(CLOCK), "--outdir", str(tmp_path / "out")
    )
    assert code == 0, stderr
    written = [(tmp_path / "out" / host).read_bytes() for host in fleet.hosts[:HOSTS]]
    assert written == [b"early\n" + b"x" * 5000 + b"\nsurvived\n"] * HOSTS
