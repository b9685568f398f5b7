from __future__ import annotations

import asyncio

import anyio

from sshfan_async.process.uncancelled import complete


async def test_scope_that_is_cancelled_tells_the_fleet_once() -> None:
    """anyio cancels in every turn of the loop what goes on in a cancelled scope, unless it is shielded."""
    told: list[int] = []
    ended = asyncio.Event()

    def tell() -> None:
        told.append(1)
        asyncio.get_running_loop().call_later(0.1, ended.set)

    with anyio.move_on_after(0) as scope:
        await complete(ended.wait(), on_cancel=tell)
    assert scope.cancelled_caught
    assert told == [1]
