"""An asyncssh server that signals its commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import asyncssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container

    from sshfan_async.testing import SshdFleet


@contextlib.asynccontextmanager
async def signalling_host(
    own_server: SshdFleet, patience: float = 60.0, withheld: Container[int] = ()
) -> AsyncIterator[str]:
    """Serve a host with asyncssh, which claims to be a new OpenSSH and signals its commands.

    It closes a session that has no command for `patience` seconds, refuses the command `refused`, and does not send
    messages whose number is in `withheld` (`sshfan_async.mux.wire.Message`).
    """
    directory = own_server.directory
    started: list[subprocess.Popen[bytes]] = []

    class Session(asyncssh.SSHServerSession[bytes]):
        def connection_made(self, chan: Any) -> None:
            self.chan = chan
            self.impatience = asyncio.get_running_loop().call_later(patience, chan.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self.impatience.cancel()

        def exec_requested(self, command: str) -> bool:
            self.command = command
            self.impatience.cancel()
            return command != "refused"

        def session_started(self) -> None:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", self.command],
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            started.append(self.process)
            threading.Thread(target=self.follow, args=(asyncio.get_running_loop(),)).start()

        def follow(self, loop: asyncio.AbstractEventLoop) -> None:
            assert self.process.stdout is not None
            with self.process.stdout as output:
                while data := os.read(output.fileno(), 4096):
                    loop.call_soon_threadsafe(self.chan.write, data)
            code = self.process.wait()
            with contextlib.suppress(RuntimeError):  # the test has ended, and its loop is closed
                if code < 0:
                    name = signal.Signals(-code).name.removeprefix("SIG")
                    loop.call_soon_threadsafe(self.chan.exit_with_signal, name)
                else:
                    loop.call_soon_threadsafe(self.chan.exit, code)

        def eof_received(self) -> bool:
            return True

        def signal_received(self, name: str) -> None:
            os.killpg(self.process.pid, getattr(signal, f"SIG{name}"))

    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: Any) -> None:
            send = conn.send_packet

            def send_unless_withheld(number: int, *fields: bytes, **options: Any) -> None:
                if number not in withheld:
                    send(number, *fields, **options)

            conn.send_packet = send_unless_withheld

        def begin_auth(self, username: str) -> bool:
            return False

        def session_requested(self) -> Any:
            return Session()

    server = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        0,
        server_host_keys=[str(directory / "host_key")],
        server_version="OpenSSH_9.9",
        encoding=None,
        line_editor=False,
    )
    async with server:
        own_server.add_host(
            "signals",
            options={
                "HostName": "127.0.0.1",
                "Port": str(server.get_port()),
                "HostKeyAlias": f"[127.0.0.1]:{own_server.port}",
            },
        )
        try:
            yield "signals"
        finally:
            for process in started:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
