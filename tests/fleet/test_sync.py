from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from sshfan_async import SyncFleet
from tests.support import processes, project

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet


def test_sync_fleet_runs_many_commands_over_the_same_connections(stock_fleet: SshdFleet) -> None:
    with SyncFleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
        parents = {fleet.run("echo $PPID")[stock_fleet.hosts[0]].stdout for _ in range(5)}
        assert len(fleet.hosts(stock_fleet.hosts[:2]).run("true")) == 2
        assert fleet.status.ok
    assert len(parents) == 1


def test_interrupt_ends_the_running_command_only(stock_fleet: SshdFleet, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def interrupt() -> None:
        processes.wait_until(begun.exists, "the command to begin")
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with SyncFleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
            interrupting.start()
            with pytest.raises(KeyboardInterrupt):
                fleet.run(f"touch {begun}; exec sleep 60")
            interrupting.join()
            assert fleet.run("true").ok
    finally:
        signal.signal(signal.SIGINT, handler)


def test_sync_fleet_that_is_never_left_does_not_keep_the_process(stock_fleet: SshdFleet) -> None:
    script = f"""
        from contextlib import ExitStack
        from sshfan_async import Ssh, SyncFleet
        ssh = Ssh(config_file={str(stock_fleet.ssh_config)!r})
        fleet = ExitStack().enter_context(SyncFleet({stock_fleet.hosts[0]!r}, ssh=ssh))
        print(fleet.run("echo here")[{stock_fleet.hosts[0]!r}].stdout, flush=True)
        raise SystemExit(3)
    """
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", textwrap.dedent(script)],
        capture_output=True, check=False, cwd=project.ROOT, text=True, timeout=processes.PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "b'here\\n'\n")
    assert "ResourceWarning: a SyncFleet was not closed" in done.stderr


def test_sync_fleet_says_that_it_is_closed(stock_fleet: SshdFleet) -> None:
    with SyncFleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh) as fleet:
        pass
    with pytest.raises(RuntimeError, match="this fleet is closed"):
        fleet.run("true")
