from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cli_terminal import Terminal, on

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet


def test_the_summary_ends_with_the_command_to_run_again(fleet: SshdFleet) -> None:
    given = ["-f", "3", "-u5", "--max-failures=50%", "-o", "Compression=yes"]
    command = ["-w", "node[001-002],closed[1-2]", "-x", "node002", *given, "echo 'a  b'; true"]
    with Terminal(*on(fleet, *command)) as terminal:
        terminal.finish()

    again = (
        f"run again: sshfan -w 'closed[1-2]' -f 3 -u 5 -o Compression=yes --ssh-config={fleet.ssh_config} "
        "--max-failures=50% 'echo '\"'\"'a  b'\"'\"'; true'"
    )
    assert again in terminal.raw.decode()
