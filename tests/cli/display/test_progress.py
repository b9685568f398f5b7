from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sshfan_async.cli.display.in_flight import InFlight
from sshfan_async.cli.display.progress import Progress
from sshfan_async.event import HostStarted
from sshfan_async.targets import Target
from tests.support.cli_terminal import Terminal, on

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Doorbell


def test_the_progress_shows_counts_and_who_runs_and_goes_away(fleet: SshdFleet) -> None:
    command = "echo begun; sleep 1"
    with Terminal(*on(fleet, "-w", "node[001-002],closed1", command)) as terminal:
        terminal.read_until(r"1/3.*1 unreachable")
        terminal.read_until(r"2 running: node\[001-002\]")
        code = terminal.finish()

    assert code == 3
    assert sorted(terminal.screen[:2]) == ["node001: begun", "node002: begun"]
    assert not any("running:" in line or "━" in line for line in terminal.screen)


@pytest.mark.parametrize(
    ("hosts", "shown"), [(20, "21 running: tarpit,web[1-20]"), (300, "301 running: web[1-64],…")]
)
def test_those_that_run_are_folded(hosts: int, shown: str) -> None:
    state = InFlight(hosts + 1)
    names = [*(f"web{number}" for number in range(1, hosts + 1)), "tarpit"]
    state.note(HostStarted(Target.parse(name), name, 1) for name in names)
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)

    assert shown in Progress(console, state).draw().decode()


def test_the_progress_of_a_background_job_stays_out_of_the_shells_way(fleet: SshdFleet) -> None:
    shell = ["sh", "-mc", '"$@" & wait', "sh"]
    with Terminal(*on(fleet, "-w", "node001", "sleep 0.5; echo x"), before=shell) as terminal:
        terminal.finish()

    assert b"node001:\x1b[0m x\r\n" in terminal.raw
    assert re.search(rb"1 host in .*1 ok", terminal.raw)
    assert b"running:" not in terminal.raw
    assert b"\x1b[2K" not in terminal.raw


def test_a_progress_that_goes_to_the_background_is_left_as_it_is_drawn(fleet: SshdFleet, bell: Doorbell) -> None:
    shell = ["sh", "-mc", '"$@"; bg; wait', "sh"]
    with Terminal(*on(fleet, "-w", "node001", f"echo > {bell}; sleep 1; echo x"), before=shell) as terminal:
        bell.wait()
        terminal.read_until("1 running: node001")
        terminal.type(b"\x1a")
        terminal.finish()

    _, in_background = terminal.raw.split(b"^Z", 1)
    assert b"node001:\x1b[0m x\r\n" in in_background
    assert b"running:" not in in_background
    assert b"\x1b[2K" not in in_background
