from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.cli_program import Sshfan


@pytest.mark.parametrize(
    ("nodes", "command", "code"),
    [("node[001-002]", "true", 0), ("node[001-002]", "exit 7", 7), ("node001,closed1", "exit 7", 255)],
)
def test_the_largest_exit_code(on_fleet: Sshfan, nodes: str, command: str, code: int) -> None:
    assert on_fleet("-S", "-w", nodes, command).returncode == code
