"""Simulate distant hosts: relay a port of this machine with a delay."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from benchmarks.contenders.loop import standard_loop
from benchmarks.harness.measure import worker_argv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.measure import Figures

__all__ = ["distance", "relay_run"]


@contextmanager
def distance(port: int, round_trip: float) -> Iterator[int]:
    """Yield a port that relays to `port` with a round trip of `round_trip` seconds, in a child process."""
    command = worker_argv("relay", port=port, delay=round_trip / 2)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


def relay_run(port: int, delay: float) -> Figures:
    """Print the relay's port, then relay all data after `delay` seconds until standard input ends."""

    async def run() -> Figures:
        loop = asyncio.get_running_loop()
        ended = loop.run_in_executor(None, sys.stdin.read)
        server = await loop.create_server(lambda: _Near(port, delay), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await ended
        server.close()
        return {}

    return standard_loop(run)


class _Side(asyncio.Protocol):
    """One end of a connection. What it reads is written to the `other` end after the delay."""

    def __init__(self, delay: float) -> None:
        self.other: _Side | None = None
        self.transport: asyncio.Transport
        self._delay = delay
        self._on_its_way: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._on_its_way.append(data)
        self._loop.call_later(self._delay, self._arrived)

    def connection_lost(self, error: Exception | None) -> None:
        self._loop.call_later(self._delay, self._hang_up)

    def _arrived(self) -> None:
        # All timers do the same, so the data keeps its order.
        assert self.other is not None
        self.other.transport.write(self._on_its_way.popleft())

    def _hang_up(self) -> None:
        if self.other is not None:
            self.other.transport.close()


class _Near(_Side):
    """The client's end. It reads nothing until the server's end is connected."""

    def __init__(self, port: int, delay: float) -> None:
        super().__init__(delay)
        self._port = port
        self._connecting: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        _, far = await self._loop.create_connection(lambda: _Side(self._delay), "127.0.0.1", self._port)
        self.other, far.other = far, self
        self.transport.resume_reading()
