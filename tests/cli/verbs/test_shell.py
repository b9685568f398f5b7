from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli_program import LIMIT, PROGRAM, environment, ssh_children
from tests.support.cli_terminal import Terminal
from tests.support.marked import Mark
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Doorbell


def run(fleet: SshdFleet, nodes: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, "shell", "--ssh-config", str(fleet.ssh_config), "-w", nodes],
        input=given,
        capture_output=True,
        check=False,
        timeout=LIMIT,
        env=environment(),
    )


def test_each_line_of_standard_input_runs_on_all_hosts(fleet: SshdFleet) -> None:
    done = run(fleet, "node[001-003]", b"echo one\n\necho two; exit 3")

    lines = done.stdout.splitlines()
    assert sorted(lines[:3]) == [b"node00%d: one" % number for number in (1, 2, 3)]
    assert sorted(lines[3:]) == [b"node00%d: two" % number for number in (1, 2, 3)]
    assert done.stderr.splitlines() == [
        b"3 of 3 hosts connected",
        b"sshfan: node[001-003] (3): the command exited with 3",
    ]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("nodes", "given", "code"),
    [
        ("node[001-002]", b"exit 3\ntrue\n", 0),
        ("node[001-002]", b"true\nfalse\n\nexit\n", 1),
        ("node001,closed1", b"true\n", 3),
        ("node001,closed1", b"", 3),
        ("node001", b"", 0),
    ],
)
def test_the_exit_code_is_that_of_the_last_line(fleet: SshdFleet, nodes: str, given: bytes, code: int) -> None:
    assert run(fleet, nodes, given).returncode == code


def test_hosts_that_cannot_be_reached_are_named_before_the_first_prompt(fleet: SshdFleet) -> None:
    done = run(fleet, "node001,closed1", b"exit\necho never\n")

    assert done.stderr.splitlines()[0].startswith(b"sshfan: closed1: ")
    assert b"1 of 2 hosts connected" in done.stderr
    assert done.stdout == b""


def test_impossible_host_is_a_usage_error(fleet: SshdFleet) -> None:
    done = run(fleet, "-oProxyCommand=x", b"")

    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1


def test_interrupt_ends_the_running_command_and_the_shell_goes_on(fleet: SshdFleet, bell: Doorbell) -> None:
    with Terminal("shell", "--ssh-config", str(fleet.ssh_config), "-w", "node[001-002]") as terminal:
        terminal.read_until("sshfan> ")
        terminal.type(f"echo >{bell}; exec sleep 600\r".encode())
        bell.wait(2)
        terminal.type(b"\x03")
        terminal.read_until(r"\^C\r\ninterrupted: \d of 2 hosts had ended")
        terminal.read_until(r"interrupted(.|\s)*sshfan> ")
        terminal.type(b"\x03")
        # Python misses a Ctrl-C between writing its prompt and waiting for keys (Modules/readline.c:
        # readline_until_enter_or_signal): then a person presses again.
        while not terminal.shows(r"interrupted(.|\s)*sshfan> (.|\s)*sshfan> ", within=1.0):
            terminal.type(b"\x03")
        terminal.type(b"echo $((6 * 7))\r")
        # Ctrl-D means the end only while a prompt reads it: a terminal in between may swallow it.
        terminal.read_until(r"node00[12]: 42\r\nnode00[12]: 42\r\n(.|\s)*sshfan> ")
        terminal.type(b"\x04")
        assert terminal.finish() == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143), (signal.SIGQUIT, 131), (None, 129)]
)
def test_signal_ends_the_shell_and_the_running_commands(
    fleet: SshdFleet, bell: Doorbell, number: signal.Signals | None, code: int
) -> None:
    mark = Mark()
    with Terminal("shell", "--ssh-config", str(fleet.ssh_config), "-w", "node[001-002]") as terminal:
        terminal.read_until("sshfan> ")
        terminal.type(f"echo >{bell}; exec {mark.sleep}\r".encode())
        bell.wait(2)
        if number is None:
            terminal.hang_up()
        else:
            terminal.process.send_signal(number)
        assert terminal.process.wait(LIMIT) == code
    wait_until(lambda: not mark.commands(), "the commands to end")
    assert ssh_children(fleet) == []
    assert b"Traceback" not in terminal.raw


def test_signal_at_the_prompt_ends_the_shell(fleet: SshdFleet) -> None:
    with Terminal("shell", "--ssh-config", str(fleet.ssh_config), "-w", "node001") as terminal:
        terminal.read_until("sshfan> ")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.finish() == 143
    assert ssh_children(fleet) == []


def test_signal_that_another_thread_gets_ends_the_shell(fleet: SshdFleet) -> None:
    with Terminal("shell", "--ssh-config", str(fleet.ssh_config), "-w", "node001") as terminal:
        terminal.read_until("sshfan> ")
        process = terminal.process.pid
        other = next(int(task) for task in os.listdir(f"/proc/{process}/task") if int(task) != process)
        assert ctypes.CDLL(None).tgkill(process, other, signal.SIGTERM) == 0
        assert terminal.finish() == 143
    assert ssh_children(fleet) == []


def test_a_last_line_that_was_interrupted_has_failed(fleet: SshdFleet, bell: Doorbell) -> None:
    with Terminal("shell", "--ssh-config", str(fleet.ssh_config), "-w", "node001") as terminal:
        terminal.read_until("sshfan> ")
        terminal.type(f"echo >{bell}; exec sleep 600\r".encode())
        bell.wait()
        terminal.type(b"\x03")
        terminal.read_until(r"interrupted: (.|\s)*sshfan> ")
        terminal.type(b"\x04")
        assert terminal.finish() == 1
