"""Finds the ssh program, and asks it whether it is OpenSSH's client and which version it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from typing import TYPE_CHECKING, NamedTuple

from sshfan_async.loop.uncancelled import complete
from sshfan_async.process.exits import start_watched
from sshfan_async.process.pipes import available
from sshfan_async.process.readers import Readers
from sshfan_async.process.spawn import check_exit_codes
from sshfan_async.process.spawn_gate import spawn_gate
from sshfan_async.sshlog.lines import LogStyle

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.settings import Ssh

__all__ = ["Client", "ask_version", "find_program", "identify"]

_BANNER = re.compile(r"\bOpenSSH_(?:[A-Za-z]+_)*(\d{1,3})\.(\d{1,3})")

_PATIENCE = 1.0
"""Seconds for `ssh -V`. OpenSSH takes 5 ms; another program may never answer."""

_known: dict[tuple[str, int, int], Client] = {}


class Client(NamedTuple):
    """What `ssh -V` says about a program. `version` is None if it is not an OpenSSH client."""

    version: tuple[int, int] | None

    @classmethod
    def from_banner(cls, text: str) -> Client:
        """Parse the output of `ssh -V`, for example `OpenSSH_9.2p1 Debian-2…`."""
        found = _BANNER.search(text)
        return cls(None) if found is None else cls((int(found[1]), int(found[2])))

    @property
    def log_style(self) -> LogStyle:
        """The log options that this client supports."""
        return LogStyle.LOGVERBOSE if self.version is not None and self.version >= (8, 5) else LogStyle.DEBUG1


def find_program(ssh: Ssh) -> str:
    """Return the path of the program.

    Raises:
        FileNotFoundError: it is not in PATH.

    """
    path = shutil.which(os.fspath(ssh.program))
    if path is None:
        raise FileNotFoundError(os.fspath(ssh.program))
    return os.path.abspath(path)


async def identify(path: str, meanwhile: Callable[[], object] | None = None) -> Client:
    """Return what the program at `path` is. It is asked once in this process, and again if its file changes.

    `meanwhile` is called while the program runs. It must not raise.

    Raises:
        OSError: it cannot be started, or the exit codes of children do not reach this process.

    """
    check_exit_codes()
    state = os.stat(path)
    key = (path, state.st_mtime_ns, state.st_size)
    if key not in _known:
        await complete(_learn(key, meanwhile))
    return _known[key]


async def _learn(key: tuple[str, int, int], meanwhile: Callable[[], object] | None) -> None:
    gate = spawn_gate()
    async with gate.alone:  # `ssh -V` is a child too. A second task that waited here finds the answer.
        if key not in _known:
            started = await gate.start_alone(lambda: _start(key[0]))
            if meanwhile is not None:
                meanwhile()
            _known[key] = await _answer(*started, _PATIENCE)


async def ask_version(program: str, patience: float = _PATIENCE) -> Client:
    """Ask `program` for its version (`ssh -V`), for at most `patience` seconds.

    The result is `Client(None)` if the program does not answer in time, or does not answer as OpenSSH does.

    Raises:
        OSError: it cannot be started.

    """
    return await _answer(*_start(program), patience)


def _start(program: str) -> tuple[int, asyncio.Future[int], int]:
    """Start `program` with `-V`; return its pid, its return code to come, and the end of a pipe with its output."""
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[int] = loop.create_future()
    read_end, write_end = os.pipe()
    try:
        running = start_watched(
            Readers(loop),
            exited.set_result,
            program,
            "-V",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            start_new_session=True,
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return running.pid, exited, read_end


async def _answer(pid: int, exited: asyncio.Future[int], output: int, patience: float) -> Client:
    try:
        try:
            await asyncio.wait([exited], timeout=patience)
        finally:
            if not exited.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                await asyncio.wait([exited])
        banner = b"".join(available(output))
    finally:
        os.close(output)
    return Client.from_banner(banner.decode("ascii", "replace"))
