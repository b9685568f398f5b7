"""Starts a program with asyncio, in one call that does not wait."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import signal
from typing import Any

__all__ = ["ExitCodesLost", "check_exit_codes", "start_program"]


class ExitCodesLost(OSError):
    """Children can be started here, but their exit codes do not reach this process."""


def check_exit_codes() -> None:
    """Make sure that the exit codes of children reach this process.

    Raises:
        ExitCodesLost: SIGCHLD is ignored, so the kernel discards them (wait(2)); exec keeps that setting.

    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        raise ExitCodesLost(
            "SIGCHLD is ignored in this process, so no exit code reaches it: "
            "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first"
        )


def start_program(*argv: str, **options: Any) -> asyncio.subprocess.Process:
    """Start a program and return asyncio's object for the child.

    The arguments are those of `asyncio.create_subprocess_exec`, but no pipe of asyncio's own: then that coroutine
    waits for nothing but a task that connects such pipes (base_subprocess.py: BaseSubprocessTransport). That task is
    run at once, so a cancellation can find no child that is half started.

    Raises:
        OSError: it cannot be started.

    """
    try:
        return _start(argv, options)
    except NotImplementedError:
        _add_child_watcher()
        return _start(argv, options)


def _start(argv: tuple[str, ...], options: dict[str, Any]) -> asyncio.subprocess.Process:
    transports: list[asyncio.SubprocessTransport] = []

    def run_at_once(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: object) -> _Ended:
        transports.append(inspect.getcoroutinelocals(coroutine)["self"])
        ended = _Ended(loop=loop)
        try:
            coroutine.send(None)
        except StopIteration:
            ended.set_result(None)
            return ended
        raise AssertionError("asyncio connects a pipe of its own")

    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    loop.set_task_factory(run_at_once)
    try:
        asyncio.create_subprocess_exec(*argv, **options).send(None)
    except StopIteration as end:
        process: asyncio.subprocess.Process = end.value
        return process
    except BaseException as error:
        for transport in transports:
            _end(transport)
        if type(error) is RuntimeError:
            # Before 3.12 a thread waits for each child (asyncio.ThreadedChildWatcher): no thread could be started.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
        raise
    finally:
        loop.set_task_factory(factory)
    raise AssertionError("asyncio waits before it has started a program")


def _end(transport: asyncio.SubprocessTransport) -> None:
    """Kill and reap a child whose exit asyncio cannot watch."""
    transport.close()
    transport.get_extra_info("subprocess").wait()


class _Ended(asyncio.Future[Any]):
    """The result of a task factory whose coroutine has ended already."""

    def set_name(self, name: object) -> None:
        """Ignore the name; Python 3.13.0 always sets one."""


def _add_child_watcher() -> None:
    """Let asyncio's own loops start children although the process has a loop policy without a child watcher.

    Up to Python 3.13 they ask the policy for one (unix_events.py: _make_subprocess_transport). uvloop's policy has
    none: its loops do not need one.
    """
    policy = asyncio.get_event_loop_policy()
    policy.get_child_watcher = asyncio.DefaultEventLoopPolicy().get_child_watcher  # type: ignore[method-assign]
