from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli_program import LIMIT, ssh_children

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Doorbell, Start


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="reads Linux's /proc")
def test_the_limit_on_open_files_is_raised_and_no_child_has_a_thread(
    fleet: SshdFleet, start: Start, bell: Doorbell, tmp_path: Path
) -> None:
    hosts, gate = 8, tmp_path / "gate"
    command = f"echo > {bell}; until [ -e {gate} ]; do sleep 0.05; done"
    running = start("-w", "node[001-008]", command, before=["sh", "-c", 'ulimit -S -n 100; exec "$@"', "sh"])
    bell.wait(hosts)
    limits = Path(f"/proc/{running.pid}/limits").read_text()
    threads = len(os.listdir(f"/proc/{running.pid}/task"))
    children = len(ssh_children(fleet))
    gate.touch()
    assert running.wait(LIMIT) == 0

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = re.search(r"Max open files +(\d+)", limits)
    assert found is not None
    assert int(found[1]) == min(hard, 65536)
    assert children == hosts
    assert threads < hosts


def test_a_caller_that_ignores_its_children_hides_none_of_ours(start: Start) -> None:
    ignoring = ["python3", "-c", "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
                "os.execvp(sys.argv[1], sys.argv[1:])"]  # fmt: skip
    assert start("-w", "node001", "exit 0", before=ignoring).wait(LIMIT) == 0
