from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli_terminal import Terminal, on, played

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Doorbell


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

    # The command to run again is one line, so that it can be copied: the terminal wraps it.
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


def test_a_hangup_ends_the_run(fleet: SshdFleet) -> None:
    with Terminal(*on(fleet, "-w", "node[001-002]", "sleep 60")) as terminal:
        terminal.read_until("2 running:")
        terminal.hang_up()
        assert terminal.process.wait(20) == 129


def test_a_terminal_that_is_gone_ends_the_run_as_a_hangup_does(fleet: SshdFleet, bell: Doorbell) -> None:
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh"]
    with Terminal(*on(fleet, "-w", "node001", f"read -r _ <{bell}; echo late"), before=ignoring) as terminal:
        terminal.read_until("1 running:")
        terminal.hang_up()
        Path(str(bell)).write_text("go\n")
        assert terminal.process.wait(20) == 129


def test_the_picture_of_a_terminal_used_here_is_right() -> None:
    assert played("one\ntwo\n\r\x1b[2K\x1b[1A\x1b[2Kthree\n") == ["one", "three", ""]
