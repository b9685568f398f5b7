from __future__ import annotations

from typing import TYPE_CHECKING

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
