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


class Pipes:
    """Pipes that are watched, and a clock of the loop that stands still."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: self.now)
        self.read: list[bytes] = []
        self._readers = make_readers(loop)
        self._pipes = [os.pipe() for _ in range(count)]
        for read_end, _ in self._pipes:
            self._readers.add(read_end, self)

    def read_ready(self, descriptor: int) -> None:
        self.read.append(os.read(descriptor, 10))

    def add_exit(self) -> None:
        """Watch another pipe, which is readable, as a pidfd of a child that has exited is."""
        read_end, write_end = os.pipe()
        self._pipes.append((read_end, write_end))
        os.write(write_end, b"exit")
        self._readers.add_exit(read_end, self)

    async def write(self, data: bytes) -> None:
        """Write to the first pipe, and let the loop see it."""
        os.write(self._pipes[0][1], data)
        for _ in range(4):
            await asyncio.sleep(0)

    def close(self) -> None:
        self._readers.close()
        for pipe in self._pipes:
            for end in pipe:
                os.close(end)


async def test_busy_run_wakes_the_loop_once_for_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = Pipes(16, monkeypatch)
    for data in (b"a", b"b", b"c", b"d"):
        await pipes.write(data)
    assert pipes.read == [b"a", b"b"]
    pipes.now += 0.01
    await pipes.write(b"e")
    assert pipes.read[2:] == [b"cde"]
    pipes.now += 0.01
    await pipes.write(b"")  # nothing is found, so the loop is woken again
    await pipes.write(b"f")
    assert pipes.read[3:] == [b"f"]
    pipes.close()


async def test_busy_run_sees_an_exit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = Pipes(16, monkeypatch)
    for data in (b"a", b"b", b"c"):
        await pipes.write(data)
    assert pipes.read == [b"a", b"b"]
    pipes.add_exit()
    await pipes.write(b"")
    assert pipes.read == [b"a", b"b", b"exit"]
    pipes.close()


async def test_run_of_few_hosts_reads_each_piece_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = Pipes(15, monkeypatch)
    for data in (b"a", b"b", b"c"):
        await pipes.write(data)
    assert pipes.read == [b"a", b"b", b"c"]
    pipes.close()


async def test_readers_that_are_closed_while_busy_look_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = Pipes(16, monkeypatch)
    for data in (b"a", b"b", b"c"):
        await pipes.write(data)
    assert pipes.read == [b"a", b"b"]
    pipes.close()
    pipes.now += 1
    await asyncio.sleep(0)
    assert pipes.read == [b"a", b"b"]
