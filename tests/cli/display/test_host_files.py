"""Files for each host: --outdir and --errdir."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sshfan_async.cli.display.host_files import file_name
from tests.support.cli_program import LIMIT
from tests.support.planted import PLANTED, plant

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli_program import Doorbell, Sshfan, Start


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_each_host_that_was_reached_has_its_files(on_fleet: Sshfan, tmp_path: Path) -> None:
    out, err = tmp_path / "new" / "out", tmp_path / "err"
    (tmp_path / "err").mkdir()
    for host in ("closed1", "node001"):
        (err / host).write_text("of an earlier run")
    done = on_fleet(
        "--quiet",
        "--outdir",
        str(out),
        "--errdir",
        str(err),
        "-w",
        "node[001-002],closed1",
        r"printf 'a\377'; [ -e $HOME/nothing ] || echo b >&2",
    )

    assert contents(out) == {"node001": b"a\xff", "node002": b"a\xff"}
    assert contents(err) == {"node001": b"b\n", "node002": b"b\n", "closed1": b"of an earlier run"}
    assert (done.stdout, done.stderr.count(b"\n")) == (b"", 1)


def test_a_host_without_output_has_an_empty_file(on_fleet: Sshfan, tmp_path: Path) -> None:
    (tmp_path / "node001").write_text("of an earlier run")
    on_fleet("--outdir", str(tmp_path), "-w", "node[001-002]", "true")

    assert contents(tmp_path) == {"node001": b"", "node002": b""}


def test_a_file_is_replaced_when_its_host_has_ended(on_fleet: Sshfan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "node001").write_text("old\n")
    (out / "node001").chmod(0o640)
    done = on_fleet("--outdir", str(out), "-w", "node001", f"echo new; sleep 0.2; cat {out}/node001")

    assert done.stdout == b"node001: new\nnode001: old\n"
    assert contents(out) == {"node001": b"new\nold\n"}
    assert (out / "node001").stat().st_mode & 0o777 == 0o640


def test_both_outputs_can_go_to_one_directory(on_fleet: Sshfan, tmp_path: Path) -> None:
    on_fleet("--outdir", str(tmp_path), "--errdir", f"{tmp_path}/.", "-w", "node001", "echo a; sleep 0.2; echo b >&2")

    assert contents(tmp_path) == {"node001": b"a\nb\n"}


def test_host_whose_file_cannot_be_written_is_told_and_its_command_goes_on(start: Start, tmp_path: Path) -> None:
    out, done = tmp_path / "out", tmp_path / "done"
    out.mkdir()
    (out / "node001").write_text("old")
    first = f"mkdir {tmp_path}/first 2>/dev/null && head -c 60000 /dev/zero; sleep 0.2; echo a; echo x >>{done}"
    limited = ["/bin/sh", "-c", 'ulimit -f 20; exec "$@"', "sh"]
    ran = start("--quiet", "--outdir", str(out), "-w", "node[001-002]", "-f1", first, before=limited)
    _, stderr = ran.communicate(timeout=LIMIT)

    assert ran.returncode == 1
    assert stderr == f"sshfan: node001: cannot write to --outdir '{out}/node001': File too large\n".encode()
    assert contents(out) == {"node001": b"old", "node002": b"a\n"}
    assert done.read_text() == "x\nx\n"


@pytest.mark.parametrize("option", ["--outdir", "--errdir"])
@pytest.mark.parametrize("kind", PLANTED)
def test_only_regular_files_are_replaced(on_fleet: Sshfan, tmp_path: Path, option: str, kind: str) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("mine")
    planted = out / "node002"
    plant(kind, planted, victim)
    done = on_fleet(option, str(out), "-w", "node[001-002]", f"touch {tmp_path}/started")

    assert done.returncode == 2
    why = f"cannot write to {option} '{planted}': it is a {kind}, not a regular file"
    assert done.stderr == f"sshfan: {why}\n".encode()
    assert victim.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "victim"}


def test_a_link_that_is_planted_during_the_run_is_not_followed(on_fleet: Sshfan, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("mine")
    done = on_fleet("--quiet", "--outdir", str(out), "-w", "node001", f"ln -s {victim} {out}/node001; echo a")

    assert done.returncode == 0
    assert victim.read_text() == "mine"
    assert not (out / "node001").is_symlink()
    assert contents(out) == {"node001": b"a\n"}


@pytest.mark.parametrize("plant", ["ln -s {victim} $f", "mkfifo $f", "ln {victim} $f"])
def test_an_exchanged_temporary_file_is_not_used(on_fleet: Sshfan, tmp_path: Path, plant: str) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("mine")
    wait = f"until [ -e {out}/.node001.* ]; do sleep 0.02; done"
    exchange = f"for f in {out}/.node001.*; do rm $f; {plant.format(victim=victim)}; done"
    done = on_fleet("--quiet", "--outdir", str(out), "-w", "node001", f"echo a; {wait}; {exchange}; echo b")

    why = f"cannot write to --outdir '{out}/node001': another user has exchanged the temporary file"
    assert done.stderr == f"sshfan: node001: {why}\n".encode()
    assert victim.read_text() == "mine"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("end", ["signal", "timeout"])
def test_a_host_that_is_stopped_has_its_output_so_far(start: Start, bell: Doorbell, tmp_path: Path, end: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for host in ("node001", "node002"):
        (out / host).write_text("old")
    limits = ["-u", "0.5", "-k"] if end == "timeout" else []
    ran = start(*limits, "--outdir", str(out), "-w", "node[001-002]", "-f1", f"echo a; echo >{bell}; sleep 60")
    bell.wait()
    if end == "signal":
        ran.terminate()
    ran.communicate(timeout=LIMIT)

    assert contents(out) == {"node001": b"a\n", "node002": b"old"}


def test_files_are_completed_if_nobody_reads_what_is_shown(start: Start, tmp_path: Path) -> None:
    ran = start("--outdir", str(tmp_path), "-w", "node001", "echo a; sleep 60")
    assert ran.stdout is not None
    ran.stdout.close()
    assert ran.wait(LIMIT) == 141

    assert contents(tmp_path) == {"node001": b"a\n"}


@pytest.mark.parametrize(("mode", "warns"), [(0o755, False), (0o777, True), (0o1777, True)])
def test_a_directory_of_others_is_a_warning(on_fleet: Sshfan, tmp_path: Path, mode: int, warns: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(mode)
    done = on_fleet("--outdir", str(out), "-w", "node001", "true")

    warning = f"sshfan: --outdir '{out}': other users can write in this directory, and exchange your files\n"
    assert (done.returncode, done.stderr) == (0, warning.encode() if warns else b"")


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
