"""Sessions over a master's control socket: a real master, and one that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sshfan_async import Target
from sshfan_async.process.argv import common_argv, master_argv
from sshfan_async.process.client import Client
from tests.support import processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sshfan_async.event import Stream
    from sshfan_async.mux.channel import Channel
    from sshfan_async.mux.connection import Connection
    from sshfan_async.testing import SshdFleet


class Session:
    """Runs one command and records what its channel reports."""

    def __init__(self, command: str, *, stdin: bytes | None = b"", variables: dict[str, str] | None = None) -> None:
        self.channel: Channel
        self.out = self.err = b""
        self.told: list[object] = []
        self.done = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()
        self.first_output = asyncio.Event()
        self._command = command
        self._variables = variables or {}
        self._left = stdin

    def opened(self) -> None:
        for name, value in self._variables.items():
            self.channel.set_variable(name, value)
        self.channel.execute(self._command.encode())
        if self._left is not None:
            self.writable()

    def refused(self, reason: str) -> None:
        self.told.append(("refused", reason))
        self.done.set_result(None)

    def answered(self, request: str, *, accepted: bool) -> None:
        self.told.append((request, accepted))
        self.begun.set()

    def output(self, stream: Stream, data: bytes) -> None:
        if stream == "stdout":
            self.out += data
        else:
            self.err += data
        self.first_output.set()

    def writable(self) -> None:
        assert self._left is not None
        while self._left and (count := self.channel.write(self._left)) > 0:
            self._left = self._left[count:]
        if not self._left:
            self.channel.write_eof()

    def exited(self, code: int) -> None:
        self.told.append(("exited", code))

    def signalled(self, name: str) -> None:
        self.told.append(("signalled", name))

    def closed(self) -> None:
        self.done.set_result(None)

    def lost(self, reason: str) -> None:
        self.told.append(("lost", reason))
        self.done.set_result(None)


async def run(connection: Connection, command: str, **options: object) -> Session:
    session = Session(command, **options)  # type: ignore[arg-type]
    session.channel = connection.open_channel(session)
    await session.done
    return session


@contextlib.contextmanager
def socket_directory() -> Iterator[Path]:
    """Create a directory for sockets: pytest's own may be too deep for a socket's path (unix(7): 108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="sshfan-", dir="/tmp") as directory:
        yield Path(directory)


class Master:
    """A real ssh master, as a child process."""

    def __init__(self, fleet: SshdFleet, directory: Path) -> None:
        self.path = os.fspath(directory / "socket")
        argv = master_argv(
            common_argv(fleet.ssh, Client((9, 2))),
            Target(fleet.hosts[0]),
            user=None,
            log_path="/dev/null",
            socket_path=self.path,
        )
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            processes.wait_until(lambda: os.path.exists(self.path), "the master's socket")
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


HELLO = struct.pack(">III", 8, 1, 4)
READY = struct.pack(">III", 8, 0x8000000F, 1)


def packet(number: int, *fields: int | bytes) -> bytes:
    body = bytes((0, number))
    for field in fields:
        body += struct.pack(">I", field) if isinstance(field, int) else struct.pack(">I", len(field)) + field
    return struct.pack(">I", len(body)) + body


CONFIRMATION = packet(91, 0, 40, 1 << 20, 1 << 15)


@contextlib.asynccontextmanager
async def speaking(directory: Path, *, greeting: bytes = HELLO + READY, then: bytes = b"") -> AsyncIterator[str]:
    """Listen, send `greeting` to each client, and `then` when it opens a channel."""

    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(greeting)
            await reader.readexactly(24)  # the client's own greeting and request
            if then:
                await reader.readexactly(4)
                writer.write(then)
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    path = os.fspath(directory / "s")
    if os.path.exists(path):
        os.unlink(path)
    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield path
        await ended.wait()
