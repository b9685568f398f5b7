from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.planted import PLANTED, plant

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli_program import Sshfan


def test_those_that_failed_are_kept_for_another_try(on_fleet: Sshfan, tmp_path: Path) -> None:
    again = tmp_path / "again"
    first = on_fleet("--failed-to", str(again), "-w", "node001,closed[1-2],root@node002:1", "true")
    assert first.returncode == 3
    assert again.read_text() == "closed1\nclosed2\nroot@node002:1\n"

    second = on_fleet("--hostfile", str(again), "--failed-to", str(again), "-x", "root@node002:1", "true")
    assert second.returncode == 3
    assert again.read_text() == "closed1\nclosed2\n"


def test_the_old_file_stays_until_the_run_has_ended(on_fleet: Sshfan, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.write_text("old\n")
    again.chmod(0o600)
    done = on_fleet("--failed-to", str(again), "-w", "node001", f"cat {again}; exit 1")

    assert done.stdout == b"node001: old\n"
    assert again.read_text() == "node001\n"
    assert again.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [again]


@pytest.mark.parametrize("kind", PLANTED)
def test_only_a_regular_file_is_replaced(on_fleet: Sshfan, tmp_path: Path, kind: str) -> None:
    planted, victim = tmp_path / "again", tmp_path / "victim"
    victim.write_text("mine")
    plant(kind, planted, victim)
    done = on_fleet("--failed-to", str(planted), "-w", "node001", "exit 1")

    why = f"cannot write to --failed-to '{planted}': it is a {kind}, not a regular file"
    assert (done.returncode, done.stderr) == (2, f"sshfan: {why}\n".encode())
    assert victim.read_text() == "mine"


def test_a_link_that_is_planted_during_the_run_is_not_followed(on_fleet: Sshfan, tmp_path: Path) -> None:
    again, victim = tmp_path / "again", tmp_path / "victim"
    victim.write_text("mine")
    on_fleet("--failed-to", str(again), "-w", "node001", f"ln -s {victim} {again}; exit 1")

    assert victim.read_text() == "mine"
    assert again.read_text() == "node001\n"
    assert not again.is_symlink()
