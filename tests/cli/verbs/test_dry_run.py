from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Sshfan


def test_a_dry_run_shows_the_command_lines_and_what_they_override(on_fleet: Sshfan, fleet: SshdFleet) -> None:
    done = on_fleet("--dry-run", "-w", "node001,ops@node002:22", "-o", "Compression=yes", "echo 'a b'")

    lines = done.stdout.decode().splitlines()
    first, second = (shlex.split(line) for line in lines[:2])
    assert first[:3] == ["ssh", "-F", str(fleet.ssh_config)]
    assert "-oCompression=yes" in first
    assert first[-3:] == ["--", "node001", "echo 'a b'"]
    assert second[-7:] == ["-p", "22", "-l", "ops", "--", "node002", "echo 'a b'"]
    assert "#   compression yes (was no)" in lines
    assert "#   user ops (was root)" in lines or any(line.startswith("#   user ops (was ") for line in lines)
    assert all(line.startswith("#") for line in lines[2:])
