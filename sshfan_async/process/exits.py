"""Sees the exit of a child in the turn of the loop in which it happens: through a pidfd of our own (pidfd_open(2)).

Up to Python 3.13, asyncio asks the event loop policy for a child watcher when it starts a child (unix_events.py:
_make_subprocess_transport). The default one of Python 3.11 starts a thread for each child. That of 3.12 and 3.13
reports an exit four turns of the loop later. So a watcher of ours answers that one call; all others get the policy's
own answer. From 3.14 on, a policy has no watcher, and asyncio's own report is awaited.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

from sshfan_async.loop.uncancelled import unlisted_task
from sshfan_async.process.spawn import start_program
from sshfan_async.process.spawn_gate import SHORTAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.process.readers import Readers

__all__ = ["Exit", "start_watched"]

_UNKNOWN = 255
"""The return code of a child that somebody else has reaped, as asyncio reports it."""


class Exit(Protocol):
    """The exit of one child."""

    pid: int

    def has_happened(self) -> bool:
        """Return whether the child has exited, as far as the kernel knows now. If it has, this may report it."""
        ...


def start_watched(readers: Readers, on_exit: Callable[[int], None], *argv: str, **options: Any) -> Exit:
    """Start a program as `start_program` does; call `on_exit` once, with the return code, when it has exited.

    `on_exit` must not raise.

    Raises:
        OSError: it cannot be started.

    """
    if not _is_watched_here():
        return _AsyncioExit(start_program(*argv, **options), on_exit)
    watcher = _PidfdExit(readers, on_exit)
    policy: Any = asyncio.get_event_loop_policy()
    if not isinstance(policy.get_child_watcher, _Answer):
        policy.get_child_watcher = _Answer(policy.get_child_watcher)
    _started_here.watcher = watcher
    try:
        start_program(*argv, **options)
    finally:
        _started_here.watcher = None
    return watcher


class _AsyncioExit:
    """An exit that asyncio reports."""

    def __init__(self, process: asyncio.subprocess.Process, on_exit: Callable[[int], None]) -> None:
        self.pid = process.pid
        self._reporting = unlisted_task(self._report(process, on_exit))

    async def _report(self, process: asyncio.subprocess.Process, on_exit: Callable[[int], None]) -> None:
        on_exit(await process.wait())

    def has_happened(self) -> bool:
        # WNOWAIT leaves the exit code to asyncio (waitid(2)).
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True


class _PidfdExit:
    """An exit that we see ourselves. It is also the child watcher that asyncio gets for this child."""

    __slots__ = ("_on_exit", "_pidfd", "_readers", "_transport", "pid")

    def __init__(self, readers: Readers, on_exit: Callable[[int], None]) -> None:
        self._readers = readers
        self._on_exit = on_exit
        self._pidfd = -1
        self.pid: int
        self._transport: Any

    # asyncio.AbstractChildWatcher, as far as asyncio uses it to start a child

    def __enter__(self) -> _PidfdExit:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def is_active(self) -> bool:
        return True

    def add_child_handler(self, pid: int, callback: Callable[..., None], transport: Any) -> None:
        self._pidfd = os.pidfd_open(pid)
        self.pid, self._transport = pid, transport
        self._readers.add_exit(self._pidfd, self)

    # the exit

    def read_ready(self, descriptor: int) -> None:
        """Report the exit: a pidfd is readable when its process has exited."""
        self.has_happened()

    def has_happened(self) -> bool:
        if self._pidfd < 0:
            return True
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            pid, code = self.pid, _UNKNOWN
            logging.getLogger("asyncio").warning("somebody else has reaped the child %d", pid)
        if pid == 0:
            return False
        self._readers.remove(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        # What asyncio's callback would do, but through a call from another thread: a wake-up and a turn more.
        self._transport._process_exited(code)
        self._on_exit(code)
        return True


class _StartedHere(threading.local):
    """The watcher of the child that this thread is starting."""

    watcher: _PidfdExit | None = None


_started_here = _StartedHere()


class _Answer:
    """A policy's `get_child_watcher`: answers with the watcher of a child that we are starting, else as before.

    It stays in place. To put the policy's own back after each child would need a lock between threads, for which a
    signal handler that starts a run could wait for ever.
    """

    def __init__(self, before: Callable[[], Any]) -> None:
        self._before = before

    def __call__(self) -> Any:
        watcher = _started_here.watcher
        return self._before() if watcher is None else watcher


def _is_watched_here() -> bool:
    """Return whether we can see exits ourselves, and nobody else reaps our children."""
    if sys.version_info >= (3, 14) or not _has_pidfds():
        return False
    # An application's FastChildWatcher reaps every child of the process. Asking the policy would make a watcher.
    return not isinstance(getattr(asyncio.get_event_loop_policy(), "_watcher", None), asyncio.FastChildWatcher)


@functools.cache
def _has_pidfds() -> bool:
    """Return whether pidfds can be used: from Linux 5.3 on, if no sandbox forbids them."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except AttributeError:
        return False
    except OSError as error:
        return error.errno in SHORTAGES
    return True
