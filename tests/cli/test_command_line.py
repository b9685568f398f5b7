from __future__ import annotations

import io
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

import sshfan_async
from sshfan_async.cli.main import main
from tests.support import accounts
from tests.support.cli_program import LIMIT, PROGRAM, environment

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Sshfan

# output


def test_stdout_and_stderr_of_each_host_are_prefixed_and_stay_apart(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node[001-003]", "echo out; echo err >&2")

    assert sorted(done.stdout.splitlines()) == [b"node001: out", b"node002: out", b"node003: out"]
    assert sorted(done.stderr.splitlines()) == [b"node001: err", b"node002: err", b"node003: err"]
    assert done.returncode == 0


def test_a_quick_host_is_shown_before_a_slow_one_has_ended(fleet: SshdFleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"  # the host that makes the directory ends at once, the other waits for the file
    command = f"mkdir {gate} 2>/dev/null && echo quick || until [ -e {gate}/open ]; do sleep 0.05; done"
    with subprocess.Popen(
        [*PROGRAM, "--ssh-config", fleet.ssh_config, "-w", "node[001-002]", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert running.poll() is None
        (gate / "open").touch()
        assert running.wait(LIMIT) == 0

    assert line.endswith(b": quick\n")


def test_every_byte_passes_into_a_pipe(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node001", r"printf 'a\033[2J\377\r\n\000b\n'")

    assert done.stdout == b"node001: a\x1b[2J\xff\r\nnode001: \x00b\n"


def test_a_last_line_without_newline_gets_one(on_fleet: Sshfan) -> None:
    assert on_fleet("-w", "node001", "printf 'a\n\nb'").stdout == b"node001: a\nnode001: \nnode001: b\n"


def test_large_output_comes_whole(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node001", "yes 0123456789 | head -n 200000")

    assert done.stdout == b"node001: 0123456789\n" * 200_000


# the command


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["echo", "-n", "-w", "x"], "-w x"),
        (["--", "echo", "a"], "a"),
        (["echo", "--", "a"], "-- a"),
        (["echo", "--debug", "-f"], "--debug -f"),
        (["echo 'a  b';", "echo c"], "a  b\nnode001: c"),
        (["echo", "$((1", "+", "1))"], "2"),
    ],
)
def test_the_command_is_taken_as_it_stands(on_fleet: Sshfan, words: list[str], printed: str) -> None:
    assert on_fleet("-w", "node001", *words).stdout.decode() == f"node001: {printed}\n"


def test_a_verb_after_the_options_is_a_command(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node001", "demo")

    assert b"node001" in done.stderr
    assert b"demo" in done.stderr
    assert b"not found" in done.stderr
    assert done.returncode == 1


def test_the_user_is_handed_to_ssh(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node001", "-l", "nosuchuser", "true")

    assert b"nosuchuser@127.0.0.1: Permission denied" in done.stderr
    assert done.returncode == 3


def test_the_same_host_in_two_node_sets_runs_once(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node002,node001", "-w", "node[001-002]", "-f1", "echo x")

    assert done.stdout == b"node002: x\nnode001: x\n"


# failures


@pytest.mark.parametrize(
    ("nodes", "command", "code"),
    [
        ("node[001-002]", "true", 0),
        ("node[001-002]", "exit 7", 1),
        ("node001,closed1", "true", 3),
        ("node001,closed1", "exit 7", 3),
    ],
)
def test_exit_codes(on_fleet: Sshfan, nodes: str, command: str, code: int) -> None:
    assert on_fleet("-w", nodes, command).returncode == code


def test_hosts_that_fail_alike_share_one_line(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node[001-003],closed[1-2]", "exit 3")

    assert sorted(done.stderr.decode().splitlines()) == [
        "sshfan: closed[1-2] (2): connect to host 127.0.0.1 port 1: Connection refused",
        "sshfan: node[001-003] (3): the command exited with 3",
    ]
    assert done.stdout == b""


def test_success_says_nothing_of_itself(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node[001-002]", "true")

    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_command_that_takes_too_long_is_ended(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node001", "-u", "0.5", "echo begun; sleep 60")

    assert done.stderr == b"sshfan: node001: timed out after 0.5 s in run\n"
    assert done.stdout == b"node001: begun\n"
    assert done.returncode == 1


def test_a_timeout_of_zero_is_none(on_fleet: Sshfan) -> None:
    assert on_fleet("-w", "node001", "-u", "0", "-t", "0", "sleep 0.2").returncode == 0


# bad input


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "no hosts"),
        (["uptime"], "no hosts"),
        (["-w", "web1"], "no command"),
        (["-w", "web1", ""], "the command is empty"),
        (["-w", "", "true"], "''"),
        (["-w", "web[1-", "true"], "'web[1-'"),
        (["-w", "@nosuchgroup", "true"], "nosuchgroup"),
        (["-w", "web1!web1", "true"], "'web1!web1'"),
        (["-w", "web1,-oProxyCommand=x", "true"], "oProxyCommand=x"),
        (["-w", "-", "true"], "standard input names no hosts"),
        (["-w", "^/nonexistent/hosts", "true"], "'/nonexistent/hosts'"),
        (["--hostfile", "/", "true"], "'/'"),
        (["-g", "nosuchgroup", "true"], "nosuchgroup"),
        (["-w", "web1", "-X", "nosuchgroup", "true"], "nosuchgroup"),
        (["-w", "web1", "-x", "web1", "true"], "excluded"),
        (["-w", "web1", "-o", "nonsense", "true"], "'nonsense'"),
        (["-w", "web1", "-o", "-W x:1", "true"], "-W cannot be used"),
        (["-w", "web1", "-o", "-p", "true"], "-p needs a value"),
        (["-w", "web1", "-o", "RemoteCommand=x", "true"], "'RemoteCommand'"),
        (["-w", "web1", "--script", "/nonexistent/script"], "'/nonexistent/script'"),
        (["-w", "web1", "--script", "/dev/null"], "is empty"),
        (["-w", "web1", "-I", "--script", "/dev/null"], "cannot be used together"),
        (["-w", "-", "-I", "true"], "cannot be used together"),
        (["-w", "web1", "--batch", "1,x", "true"], "'x'"),
        (["-w", "web1", "--batch", "0", "true"], "'0'"),
        (["-w", "web1", "--max-failures", "101%", "true"], "'101%'"),
        (["-w", "web1", "--max-failures", "1,2", "true"], "'1,2'"),
        (["-w", "web1", "--kill", "maybe", "true"], "'maybe'"),
        (["-w", "web1", "--json", "-b", "true"], "cannot be used together"),
        (["-w", "web1", "--outdir", "/dev/null/x", "true"], "/dev/null"),
        (["-w", "web1", "--failed-to", "/nonexistent/x", "true"], "'/nonexistent/x'"),
        (["-w", "web1", "-R", "rsh", "true"], "'rsh'"),
        (["help", "nosuchtopic"], "'nosuchtopic'"),
        (["-w", "web1;reboot", "true"], "'web1;reboot'"),
        (["-w", "web1", "-f", "0", "true"], "0 is not in the range"),
        (["-w", "web1", "-f", "many", "true"], "'many'"),
        (["-w", "web1", "-t", "soon", "true"], "'soon'"),
        (["-w", "web1", "-t", "-1", "true"], "'-1'"),
        (["-w", "web1", "-u", "nan", "true"], "'nan'"),
        (["-w", "web1", "-u", "inf", "true"], "'inf'"),
        (["-w", "web1", "-l", "-oX", "true"], "'-oX'"),
        (["-w", "web1", "-l", "", "true"], "user ''"),
        (["-w", "web1", "--ssh-config", "/nonexistent/config", "true"], "'/nonexistent/config'"),
        (["-w", "web1", "--ssh-config", "/", "true"], "'/'"),
        (["-w", "web1", "--nosuchoption", "true"], "--nosuchoption"),
        (["-w", "web1", "-Z", "true"], "-Z"),
        (["-w"], "-w"),
        (["demo", "--hosts", "0"], "0 is not in the range"),
        (["demo", "--hosts", "x"], "'x'"),
        (["-w", "a\x1b[2Jb", "true"], r"\x1b[2Jb"),
        (["-w", "web1", "-t", "\x1b]0;x\x07", "true"], r"\x1b]0;x\x07"),
    ],
)
def test_bad_input_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    named: str,
) -> None:
    trap = tmp_path / "ssh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    trap.chmod(0o700)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code = main(arguments)

    printed, said = capfd.readouterr()
    assert code == 2
    assert named in said
    assert said.startswith("sshfan: ")
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert not (tmp_path / "started").exists()
    assert printed == ""


def test_debug_shows_the_traceback(sshfan: Sshfan) -> None:
    done = sshfan("--debug", "-w", "web1;x", "true")

    assert done.stderr.startswith(b"Traceback")
    assert done.returncode == 2


def test_a_missing_ssh_is_the_hosts_failure(on_fleet: Sshfan) -> None:
    done = on_fleet("-w", "node[001-002]", "true", env={"PATH": "/nonexistent"})

    assert done.stderr.startswith(b"sshfan: node[001-002] (2): cannot start 'ssh': no such program")
    assert done.returncode == 3


# the program itself


def test_version(sshfan: Sshfan) -> None:
    assert sshfan("--version").stdout.decode() == f"sshfan {sshfan_async.__version__}\n"


def test_help_and_errors_load_neither_the_engine_nor_rich() -> None:
    code = (
        "import sys, sshfan_async\n"
        "package = set(sys.modules)\n"
        "from sshfan_async.cli.main import main\n"
        "main(['--help']); main(['-w', 'web1', '-t', 'x']); main(['demo', '--hosts', 'x'])\n"
        "heavy = {'anyio', 'asyncio', 'rich', 'ClusterShell', 'structlog', 'subprocess'}\n"
        "print('loaded:', *(heavy & set(sys.modules) - package))\n"
    )
    done = subprocess.run(
        [PROGRAM[0], "-c", code], check=True, capture_output=True, text=True, timeout=LIMIT, env=environment()
    )

    assert done.stdout.splitlines()[-1] == "loaded:"


def test_an_unwritable_stdout_is_told_and_ends_the_run(fleet: SshdFleet) -> None:
    began = time.monotonic()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PROGRAM, "--ssh-config", fleet.ssh_config, "-w", "node[001-002]", "-f1", "echo x; sleep 0.1"],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            env=environment(),
        )

    assert done.stderr == b"sshfan: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1
    assert time.monotonic() - began < LIMIT / 2


def test_a_closed_stdout_is_told(fleet: SshdFleet) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *PROGRAM, "--ssh-config", fleet.ssh_config, "-w", "node001", "echo x"],
        check=False,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=LIMIT,
        env=environment(),
    )

    assert done.stderr == b"sshfan: cannot write to standard output: Bad file descriptor\n"
    assert done.returncode == 1


def test_ssh_does_not_eat_the_callers_stdin(fleet: SshdFleet) -> None:
    script = '"$@" >/dev/null; cat'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM, "--ssh-config", fleet.ssh_config, "-w", "node001", "cat"],
        check=False,
        input=b"mine\n",
        capture_output=True,
        timeout=LIMIT,
        env=environment(),
    )

    assert done.stdout == b"mine\n"


# this machine


@pytest.mark.parametrize("view", [[], ["-b"], ["--quiet"], ["--json"]], ids=" ".join)
def test_a_user_without_an_account_learns_that_ssh_cannot_start(
    fleet: SshdFleet, tmp_path: Path, view: list[str]
) -> None:
    without = accounts.environment(tmp_path, "")
    (tmp_path / "passwd").write_text(accounts.line(name="other", uid=54321))
    done = subprocess.run(
        [*PROGRAM, "--ssh-config", fleet.ssh_config, "-w", "node001", *view, "true"],
        check=False,
        capture_output=True,
        env=environment(**without),
    )
    assert b"No user exists for uid" in done.stdout + done.stderr
    assert done.returncode == 3
