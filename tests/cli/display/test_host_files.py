"""What other programs read: --json, --outdir, --errdir, --failed-to, -S."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async.cli.display.host_files import file_name

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli_program import Sshfan

OUTCOME: dict[str, Any] = {
    "type": str, "host": str, "target": str, "status": str, "ok": bool, "exit_code": (int, type(None)),
    "signal": (str, type(None)), "sent": bool, "attempts": int, "clock": (str, type(None)), "phase": str,
    "phases": dict, "started_at": (float, type(None)), "elapsed": (float, int), "remote": str, "reason": str,
    "stdout": str, "stdout_dropped": int, "stderr": str, "stderr_dropped": int,
}  # fmt: skip
SUMMARY: dict[str, Any] = {
    "type": str, "hosts": int, "counts": dict, "seconds": float, "finished_at": float, "ended_by": (str, type(None)),
    "exit_code": int,
}  # fmt: skip


def test_json_is_a_line_for_each_outcome_and_a_summary(on_fleet: Sshfan) -> None:
    done = on_fleet("--json", "-w", "node001,closed1", "echo out; echo err >&2; exit 3")
    *outcomes, summary = map(json.loads, done.stdout.splitlines())

    by_host = {outcome["host"]: outcome for outcome in outcomes}
    assert list(by_host) == ["closed1", "node001"]  # as they end
    assert by_host["node001"]["stdout"] == "out\n"
    assert by_host["node001"]["stderr"] == "err\n"
    assert by_host["closed1"]["status"] == "unreachable"
    assert (summary["hosts"], summary["counts"], summary["exit_code"]) == (2, {"failed": 1, "unreachable": 1}, 3)
    for fields, schema in [*((outcome, OUTCOME) for outcome in outcomes), (summary, SUMMARY)]:
        assert fields.keys() == schema.keys()
        assert all(isinstance(value, schema[key]) for key, value in fields.items())


def test_output_that_is_no_text_is_base64_under_another_key(on_fleet: Sshfan) -> None:
    done = on_fleet("--json", "-w", "node001", r"printf '\377'")
    outcome = json.loads(done.stdout.splitlines()[0])

    assert outcome["stdout_base64"] == "/w=="
    assert "stdout" not in outcome


def test_each_host_has_its_files(on_fleet: Sshfan, tmp_path: Path) -> None:
    out, err = tmp_path / "new" / "out", tmp_path / "err"
    (tmp_path / "err").mkdir()
    (err / "closed1").write_text("of an earlier run")
    done = on_fleet(
        "--quiet",
        "--outdir",
        str(out),
        "--errdir",
        str(err),
        "-w",
        "node[001-002],closed1",
        r"printf 'a\377'; echo b >&2",
    )

    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "node001": b"a\xff", "node002": b"a\xff", "closed1": b"",
    }  # fmt: skip
    assert {path.name: path.read_bytes() for path in err.iterdir()} == {
        "node001": b"b\n", "node002": b"b\n", "closed1": b"",
    }  # fmt: skip
    assert done.stdout == b""


def test_host_whose_file_cannot_be_written_is_told_and_its_command_goes_on(on_fleet: Sshfan, tmp_path: Path) -> None:
    out, done = tmp_path / "out", tmp_path / "done"
    out.mkdir()
    (out / "node001").symlink_to("/dev/full")
    ran = on_fleet(
        "--quiet", "--outdir", str(out), "-w", "node[001-002]", f"echo a; sleep 0.2; echo b; echo x >>{done}"
    )

    assert ran.returncode == 1
    assert ran.stderr == f"sshfan: node001: cannot write to '{out}/node001': No space left on device\n".encode()
    assert (out / "node002").read_bytes() == b"a\nb\n"
    assert done.read_text() == "x\nx\n"


def test_the_lines_are_shown_too_unless_quiet(on_fleet: Sshfan, tmp_path: Path) -> None:
    done = on_fleet("--outdir", str(tmp_path), "-w", "node001", "echo out; echo err >&2")

    assert (done.stdout, done.stderr) == (b"node001: out\n", b"node001: err\n")
    assert (tmp_path / "node001").read_bytes() == b"out\n"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web1", "web1"),
        ("ops@web1:2222", "ops@web1:2222"),
        ("fe80::1%eth0", "fe80::1%25eth0"),
        ("..", "%2E."),
        (r"DOMAIN\ops@web1", "DOMAIN%5Cops@web1"),
        ("[::1]:22", "%5B::1%5D:22"),
    ],
)
def test_file_names_are_safe(host: str, name: str) -> None:
    assert file_name(host) == name


def test_long_file_names_are_shortened_and_differ() -> None:
    names = {file_name("a" * 250 + end) for end in "bc"}

    assert len(names) == 2
    assert all(len(name) <= 200 for name in names)


def test_those_that_failed_are_kept_for_another_try(on_fleet: Sshfan, tmp_path: Path) -> None:
    again = tmp_path / "again"
    first = on_fleet("--failed-to", str(again), "-w", "node001,closed[1-2],root@node002:1", "true")
    assert first.returncode == 3
    assert again.read_text() == "closed1\nclosed2\nroot@node002:1\n"

    second = on_fleet("--hostfile", str(again), "--failed-to", str(again), "-x", "root@node002:1", "true")
    assert second.returncode == 3
    assert again.read_text() == "closed1\nclosed2\n"


@pytest.mark.parametrize(
    ("nodes", "command", "code"),
    [("node[001-002]", "true", 0), ("node[001-002]", "exit 7", 7), ("node001,closed1", "exit 7", 255)],
)
def test_the_largest_exit_code(on_fleet: Sshfan, nodes: str, command: str, code: int) -> None:
    assert on_fleet("-S", "-w", nodes, command).returncode == code
