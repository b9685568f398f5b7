from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING

from sshfan_async import fan_out
from sshfan_async.process.readers import Readers, make_readers

if TYPE_CHECKING:
    import pytest

    from sshfan_async.testing import SshdFleet


async def test_run_needs_no_epoll_which_gevent_removes(fleet: SshdFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    report = await fan_out(fleet.hosts[:3], "cat; echo error >&2", stdin=bytes(300_000), ssh=fleet.ssh)
    assert {(len(outcome.stdout), outcome.stderr) for outcome in report} == {(300_000, b"error\n")}


async def read_by(readers: Readers, count: int) -> list[bytes]:
    """Watch `count` pipes that are readable; return what is read, in the order of the turns."""
    pipes = [os.pipe() for _ in range(count)]
    seen: list[bytes] = []
    done = asyncio.Event()

    class Reads:
        def read_ready(self, descriptor: int) -> None:
            seen.append(os.read(descriptor, 10))
            readers.remove(descriptor)
            if len(seen) == count:
                done.set()

    for number, (read_end, write_end) in enumerate(pipes):
        os.write(write_end, str(number).encode())
        readers.add(read_end, Reads())
    async with asyncio.timeout(20):
        await done.wait()
    readers.close()
    for pipe in pipes:
        for end in pipe:
            os.close(end)
    return seen


async def test_every_readable_pipe_is_read_by_either_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    kinds = [make_readers(loop)]
    monkeypatch.delattr(select, "epoll", raising=False)
    kinds.append(make_readers(loop))
    assert type(kinds[1]) is Readers
    for readers in kinds:
        assert set(await read_by(readers, 100)) == {str(number).encode() for number in range(100)}
