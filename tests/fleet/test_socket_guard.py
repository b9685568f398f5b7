from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sshfan_async.fleet.socket_guard import SocketGuard
from tests.support import processes, project
from tests.support.listeners import listening, stall

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            master = next(pid for pid in children if processes.name(pid) == "ssh")
            with strangers_with_the_arguments_of(master) as strangers:
                process.kill()
                processes.wait_until(lambda: not any(map(processes.is_running, children)), "every ssh ended")
                processes.wait_until(lambda: not processes.children(own_server.sshd_pid), "every connection closed")
                assert [stranger.poll() for stranger in strangers] == [None] * len(strangers)


@contextlib.contextmanager
def strangers_with_the_arguments_of(master: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run programs that are not the fleet's, and have all arguments of a master of it."""
    arguments = Path(f"/proc/{master}/cmdline").read_bytes().split(b"\0")[:-1]
    program = ["sh", "-c", "while :; do sleep 60; done"]
    users = [None, 65534] if os.geteuid() == 0 else [None]  # only root can start one of another user
    strangers = [subprocess.Popen([*program, *arguments], user=user, start_new_session=True) for user in users]
    try:
        yield strangers
    finally:
        for stranger in strangers:
            os.killpg(stranger.pid, signal.SIGKILL)
            stranger.wait()


async def let_it_believe_that_we_died(guard: SocketGuard) -> None:
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), guard._pipe)
    await guard._exited


async def test_guard_removes_no_directory_but_the_fleets() -> None:
    guard = SocketGuard.start()
    with guard.socket_path() as path:
        directory = Path(path).parent
        other = directory.with_name(f"{directory.name}0")
        other.mkdir()
        await let_it_believe_that_we_died(guard)
        assert not directory.exists()
        other.rmdir()
        directory.mkdir()  # the end of the block removes it
    await guard.close()
