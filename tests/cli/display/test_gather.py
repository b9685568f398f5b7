"""Equal output shown once: -b, -B and --diff."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.cli_terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Sshfan

RULE = "---------------"

# One sshd serves all names: the first host to make the directory is the one that differs.
ODD = "mkdir {} 2>/dev/null"


def test_equal_output_is_shown_once_under_the_node_set_of_its_hosts(on_fleet: Sshfan, tmp_path: Path) -> None:
    command = f"mkdir {tmp_path}/odd 2>/dev/null && printf odd || seq 2; echo err >&2"
    done = on_fleet("-bw", "node[001-004]", "-f1", command)

    assert done.stdout.decode().splitlines() == [
        RULE, "node[002-004] (3)", RULE, "1", "2",
        RULE, "node001", RULE, "odd",
    ]  # fmt: skip
    assert sorted(done.stderr.splitlines()) == [b"node00%d: err" % number for number in range(1, 5)]


def test_standard_error_can_be_gathered_too(on_fleet: Sshfan, tmp_path: Path) -> None:
    command = f"echo out; mkdir {tmp_path}/odd 2>/dev/null || echo err >&2"
    done = on_fleet("-B", "-w", "node[001-003]", "-f1", command)

    assert done.stdout.decode().splitlines() == [
        RULE, "node[002-003] (2)", RULE, "out", "err",
        RULE, "node001", RULE, "out",
    ]  # fmt: skip
    assert done.stderr == b""


def test_hosts_without_output_are_nowhere(on_fleet: Sshfan) -> None:
    done = on_fleet("-b", "-w", "node[001-002],closed1", "true")

    assert done.stdout == b""
    assert done.returncode == 3


def test_the_diff_is_against_the_commonest_output(on_fleet: Sshfan, tmp_path: Path) -> None:
    command = rf"mkdir {tmp_path}/odd 2>/dev/null && printf 'a\nx\377\nc\n' || printf 'a\nb\nc\n'"
    done = on_fleet("--diff", "-w", "node[001-003]", "-f1", command)

    rule = RULE.encode()
    assert done.stdout.splitlines() == [
        rule, b"node[002-003] (2)", rule, b"a", b"b", b"c",
        rule, b"node001", rule,
        b"--- node[002-003]", b"+++ node001", b"@@ -1,3 +1,3 @@", b" a", b"-b", b"+x\xff", b" c",
    ]  # fmt: skip


def test_the_diff_of_many_short_lines_does_not_take_minutes(on_fleet: Sshfan, tmp_path: Path) -> None:
    lines = "BEGIN {srand(n); for (i = 0; i < 200000; i++) print int(rand() * 500)}"
    command = f"mkdir {tmp_path}/odd 2>/dev/null && n=1 || n=2; awk -v n=$n '{lines}'"
    done = on_fleet("--diff", "-w", "node[001-002]", "-f1", command)

    *_, left_out, inexact = done.stdout.splitlines()
    assert left_out.startswith(b"\\ left out: node001 after line 100000 and node002 after line 100000; --outdir=DIR ")
    assert inexact.startswith(b"\\ equal lines may be shown as changed")


def test_a_gathered_run_keeps_every_byte_in_a_pipe(on_fleet: Sshfan) -> None:
    done = on_fleet("-b", "-w", "node001", r"printf 'a\033[2J\377\r\n\000b'")

    assert done.stdout == f"{RULE}\nnode001\n{RULE}\n".encode() + b"a\x1b[2J\xff\r\n\x00b\n"


def test_a_gathered_run_on_a_terminal_cannot_drive_it(fleet: SshdFleet) -> None:
    with Terminal("--ssh-config", str(fleet.ssh_config), "-bw", "node[001-002]", r"printf '\033[2J\n'") as terminal:
        assert terminal.finish() == 0

    assert terminal.screen[:5] == [RULE, "node[001-002] (2)", RULE, r"\x1b[2J", RULE]
    assert re.fullmatch(r"2 hosts in .* 2 ok", terminal.screen[5])


def test_a_host_cannot_forge_the_header_of_another_one(on_fleet: Sshfan) -> None:
    forged = rf"printf -- '{RULE}\nnode002\n{RULE} \r\nall is well\n  {RULE[1:]}'"
    done = on_fleet("-b", "-w", "node001", forged)

    marked = rf"\x2d{RULE[1:]}"
    assert done.stdout.decode().split("\n") == [
        RULE, "node001", RULE,
        marked, "node002", f"{marked} \r", "all is well", f"  {marked[:-1]}", "",
    ]  # fmt: skip


def test_a_diff_cannot_forge_a_header(on_fleet: Sshfan, tmp_path: Path) -> None:
    forged = rf"printf -- '{RULE[1:]}\nnode9\n{RULE}\n'"
    done = on_fleet(
        "--diff", "-w", "node[001-003]", "-f1", rf"mkdir {tmp_path}/odd 2>/dev/null && echo node9 || {forged}"
    )

    assert done.stdout.decode().splitlines() == [
        RULE, "node[002-003] (2)", RULE, rf"\x2d{RULE[2:]}", "node9", rf"\x2d{RULE[1:]}",
        RULE, "node001", RULE,
        "--- node[002-003]", "+++ node001", "@@ -1,3 +1 @@",
        rf"-\x2d{RULE[2:]}", " node9", rf"-\x2d{RULE[1:]}",
    ]  # fmt: skip
