from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from sshfan_async import Fleet, Status
from tests.support import processes, project

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.testing import SshdFleet


async def test_use_outside_of_the_block_is_refused(stock_fleet: SshdFleet) -> None:
    fleet = Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh)
    with pytest.raises(RuntimeError, match="not open"):
        await fleet.run("true")
    async with fleet:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await fleet.run("true")
    with pytest.raises(RuntimeError, match="once"):
        async with fleet:
            pass


def test_fleet_works_in_any_loop(new_loop: Callable[[], asyncio.AbstractEventLoop], stock_fleet: SshdFleet) -> None:
    async def use() -> None:
        async with Fleet(stock_fleet.hosts, ssh=stock_fleet.ssh) as fleet:
            assert (await fleet.run("true")).ok
            async with fleet.stream("true") as outcomes:
                assert len([outcome async for outcome in outcomes]) == 3
            running = asyncio.create_task(fleet.run("echo $$; exec sleep 60"))
            await fleet.run("true")
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert (await fleet.run("sleep 60", timeout=0.2)).outcomes[0].status is Status.TIMED_OUT

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(use())


def test_fleet_is_refused_in_a_fork_and_lives_on_in_its_own_process(stock_fleet: SshdFleet) -> None:
    script = f"""
        import os, sys
        from sshfan_async import Ssh, SyncFleet
        with SyncFleet({stock_fleet.hosts[0]!r}, ssh=Ssh(config_file={str(stock_fleet.ssh_config)!r})) as fleet:
            child = os.fork()
            if child == 0:
                try:
                    fleet.run("true")
                except RuntimeError as error:
                    print(error, flush=True)
                sys.exit(5)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), fleet.run("true").ok)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, check=False, cwd=project.ROOT, text=True, timeout=processes.PATIENCE,
    )  # fmt: skip
    assert done.stdout == "this fleet was opened in another process: open one after the fork\n5 True\n"
    assert done.returncode == 0


def test_fleet_of_another_loop_is_refused(stock_fleet: SshdFleet) -> None:
    with asyncio.Runner() as one:
        fleet = one.run(Fleet(stock_fleet.hosts[0], ssh=stock_fleet.ssh).__aenter__())
        refused = threading.Thread(target=asyncio.run, args=(_refused(fleet),))
        refused.start()
        refused.join()
        one.run(fleet.__aexit__(None, None, None))


async def _refused(fleet: Fleet) -> None:
    with pytest.raises(RuntimeError, match="another event loop"):
        await fleet.run("true")
