from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.support import processes, project
from tests.support.listeners import listening, stall

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet


@pytest.mark.parametrize("when", ["connected", "connecting"])
def test_killed_process_leaves_no_ssh_and_no_file(own_server: SshdFleet, when: str) -> None:
    script = f"""
        import asyncio, sys
        from sshfan_async import Fleet, Ssh
        async def main():
            async with Fleet({[*own_server.hosts, "stalls"]!r}, ssh=Ssh(config_file={str(own_server.ssh_config)!r}),
                             connect_timeout={60.0 if when == "connecting" else 1.0}) as fleet:
                print("connected", flush=True)
                await fleet.run("sleep 600", on_stop="always")
        asyncio.run(main())
    """
    with listening(stall) as listener:
        own_server.add_host("stalls", options={"HostName": "127.0.0.1", "Port": str(listener.port)})
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            cwd=project.ROOT,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            if when == "connected":
                assert process.stdout.readline() == b"connected\n"
            else:
                processes.wait_until(lambda: listener.accepted > 0)
            children = processes.children(process.pid)
            assert any(processes.name(pid) == "ssh" for pid in children)
            process.kill()
        processes.wait_until(lambda: not any(map(processes.is_running, children)), "every ssh ended")
        processes.wait_until(lambda: not processes.children(own_server.sshd_pid), "every connection closed")
