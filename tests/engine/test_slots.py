from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from sshfan_async import Ssh, fan_out
from tests.support.loops import on
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    NewLoop = Callable[[], asyncio.AbstractEventLoop]


def test_limiter_bounds_two_runs_together(stand_in: Callable[..., Ssh], new_loop: NewLoop, tmp_path: Path) -> None:
    ssh = stand_in(f"mkdir {tmp_path}/on-$$; ls -d {tmp_path}/on-* | wc -l; sleep 0.02; rmdir {tmp_path}/on-$$")

    async def main() -> list[Any]:
        limiter = anyio.CapacityLimiter(3)
        hosts = [f"web{n}" for n in range(10)]
        reports = await asyncio.gather(*(fan_out(hosts, "true", fanout=limiter, ssh=ssh) for _ in range(2)))
        assert limiter.borrowed_tokens == 0
        return reports

    reports = on(new_loop, main)
    together = [int(outcome.stdout) for report in reports for outcome in report]
    assert len(together) == 20
    assert max(together) == 3


def test_limiter_is_free_again_after_cancellation(stand_in: Callable[..., Ssh], new_loop: NewLoop) -> None:
    ssh = stand_in("exec sleep 60")

    async def main() -> None:
        limiter = anyio.CapacityLimiter(2)
        for turns in range(0, 60, 3):
            task = asyncio.ensure_future(fan_out(["web1", "web2", "web3"], "true", fanout=limiter, ssh=ssh))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: limiter.borrowed_tokens == 0)

    on(new_loop, main)
