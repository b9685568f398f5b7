"""Files for each host: --outdir and --errdir."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sshfan_async.cli.display.host_files import file_name

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli_program import Sshfan


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
