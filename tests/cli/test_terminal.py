from __future__ import annotations

import io
import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sshfan_async.cli.display.in_flight import InFlight
from sshfan_async.cli.display.progress import Progress
from sshfan_async.event import HostStarted
from sshfan_async.targets import Target
from tests.support.cli_terminal import Terminal, played

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Doorbell


def on(fleet: SshdFleet, *arguments: str) -> list[str]:
    return ["--ssh-config", str(fleet.ssh_config), *arguments]


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


def test_the_output_of_hosts_cannot_drive_the_terminal(fleet: SshdFleet) -> None:
    command = r"printf 'a\033[2J\033]0;t\007\rb\302\233c\342\200\256\377\r\n\tok\n'; printf '\033[5m' >&2"
    with Terminal(*on(fleet, "-w", "node001", command), TERM="dumb") as terminal:
        terminal.finish()

    assert terminal.raw.decode().split("\r\n")[:3] == [
        r"node001: a\x1b[2J\x1b]0;t\x07\rb\x9bc\u202e\xff",
        "node001: \tok",
        r"node001: \x1b[5m",
    ]


def test_output_into_a_pipe_is_untouched_while_the_progress_is_on_the_terminal(fleet: SshdFleet) -> None:
    readable, writable = os.pipe()
    with Terminal(*on(fleet, "-w", "node001", r"sleep 0.5; printf '\033[5m'"), stdout=writable) as terminal:
        os.close(writable)
        terminal.read_until("1 running: node001")
        assert terminal.finish() == 0
    with open(readable, "rb") as pipe:
        assert pipe.read() == b"node001: \x1b[5m\n"
    assert "1 ok" in terminal.screen[0]


@pytest.mark.parametrize("columns", [40, 60])
def test_nothing_of_ours_is_wider_than_a_narrow_terminal(fleet: SshdFleet, columns: int) -> None:
    with Terminal(*on(fleet, "-w", "node[001-008],closed1", "sleep 0.5; exit 3"), columns=columns) as terminal:
        terminal.read_until(r"running: node\[001-00")
        terminal.finish()

    # The command to run again is one line, for copying: the terminal wraps it.
    frames = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.raw.decode()).replace("\r", "\n").split("\n")
    assert max(len(line) for line in [*terminal.screen, *frames] if not line.startswith("run again: ")) <= columns


def test_no_color_leaves_the_progress_and_takes_the_colours(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node001,closed1", "sleep 0.5"), NO_COLOR="1") as terminal:
        terminal.read_until("1 running: node001")
        terminal.finish()

    styles = set(re.findall(r"\x1b\[([0-9;]*)m", terminal.raw.decode()))
    assert styles <= {"0", "1", "2"}


def test_colours_tell_the_statuses_apart(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node001,closed1", "true")) as terminal:
        terminal.finish()

    assert b"\x1b[32m1 ok" in terminal.raw
    assert b"\x1b[35m1 unreachable" in terminal.raw


def test_a_dumb_terminal_gets_no_escape_sequence(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node001,closed1", "sleep 0.3"), TERM="dumb") as terminal:
        terminal.finish()

    assert b"\x1b" not in terminal.raw
    assert b"running:" not in terminal.raw
    assert b"1 ok" in terminal.raw


def test_ctrl_c_once_shows_what_is_running_and_twice_ends_it(fleet: SshdFleet, bell: Doorbell) -> None:
    with Terminal(*on(fleet, "-w", "node[001-003],closed1", "-f4", f"echo > {bell}; sleep 60")) as terminal:
        bell.wait(rings=3)
        terminal.read_until("1 unreachable")
        terminal.type(b"\x03")
        terminal.read_until(r"1 of 4 hosts have ended, 3 in flight, 0 waiting")
        terminal.read_until(r"  run for [0-9.]+( to [0-9.]+)? s: node\[001-003\]")
        time.sleep(1.1)  # what is tested: that the second one comes too late
        terminal.type(b"\x03")
        terminal.read_until(r"(?s)Ctrl-C again.*Ctrl-C again")
        assert terminal.process.poll() is None
        terminal.type(b"\x03")
        code = terminal.finish()

    assert code == 130
    screen = "\n".join(terminal.screen)
    assert screen.count("stopping 3 hosts: node[001-003] (KILL after 10 s)\n") == 1
    assert re.search(r"^4 hosts in \d+\.\d s, ended by SIGINT: 1 unreachable, 3 cancelled$", screen, re.MULTILINE)
    assert "running:" not in screen
    assert "Traceback" not in screen


def test_commands_that_are_left_running_are_named_at_the_end(
    fleet: SshdFleet, bell: Doorbell, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = f"echo > {bell}; until [ -e {gate} ]; do sleep 0.1; done"
    with Terminal(*on(fleet, "--kill", "never", "-w", "node[001-002]", command)) as terminal:
        bell.wait(rings=2)
        terminal.type(b"\x03")
        terminal.read_until(r"  run for [0-9.]+( to [0-9.]+)? s: node\[001-002\]")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.finish() == 143
    gate.touch()

    screen = "\n".join(terminal.screen)
    assert screen.count("leaving the command running on 2 hosts: node[001-002]\n") == 1
    assert re.search(
        r"node\[001-002\] \(2\): cancelled (after \S+ s )?in run; the command was left running$", screen, re.MULTILINE
    )


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


def test_a_hangup_ends_the_run(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node[001-002]", "sleep 60")) as terminal:
        terminal.read_until("2 running:")
        terminal.hang_up()
        assert terminal.process.wait(20) == 129


def test_the_picture_of_a_terminal_used_here_is_right() -> None:
    assert played("one\ntwo\n\r\x1b[2K\x1b[1A\x1b[2Kthree\n") == ["one", "three", ""]


def test_standard_error_has_a_colour_of_its_own(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node001", "echo out; echo err >&2")) as terminal:
        terminal.finish()

    assert b"\x1b[36mnode001:\x1b[0m out\r\n" in terminal.raw
    assert b"\x1b[31mnode001: err\x1b[0m\r\n" in terminal.raw


def test_raw_lets_escape_sequences_through(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "--raw", "-w", "node001", r"printf '\033[5mx\033[0m\n'")) as terminal:
        terminal.finish()

    assert b"\x1b[5mx\x1b[0m" in terminal.raw


def test_the_summary_ends_with_the_command_to_run_again(fleet: SshdFleet) -> None:
    given = ["-f", "3", "-u5", "--max-failures=50%", "-o", "Compression=yes"]
    command = ["-w", "node[001-002],closed[1-2]", "-x", "node002", *given, "echo 'a  b'; true"]
    with Terminal(*on(fleet, *command)) as terminal:
        terminal.finish()

    again = (
        f"run again: sshfan -w 'closed[1-2]' -f 3 -u 5 -o Compression=yes --ssh-config={fleet.ssh_config} "
        "--max-failures=50% 'echo '\"'\"'a  b'\"'\"'; true'"
    )
    assert again in terminal.raw.decode()


def test_hosts_not_run_because_of_failures_are_named(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "closed1,node[001-003]", "-f1", "--batch", "1", "true")) as terminal:
        assert terminal.finish() == 3

    screen = "\n".join(terminal.screen)
    assert re.search(r"^4 hosts in .*, ended by --max-failures: 1 unreachable, 3 not run$", screen, re.MULTILINE)
    assert "  node[001-003] (3): never started" in screen
