"""What the command does to its own process, and a library never may: descriptors, limits, the child watcher."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys

__all__ = [
    "discard_standard_output",
    "end_quickly",
    "hear_of_children",
    "open_standard_descriptors",
    "raise_file_limit",
    "watch_children",
]

_ENOUGH_FILES = 65536
"""Some programs close every descriptor up to the limit before they start another: more would cost them dearly."""


def open_standard_descriptors() -> None:
    """Fill in descriptors 0 to 2 where our caller closed them (`>&-`), or a pipe of ours would become stdout.

    For reading only: what is written there fails, and says so.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number, this one


def hear_of_children() -> None:
    """Undo our caller's ignoring SIGCHLD, which outlives exec: no exit code of an ssh would reach us."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def discard_standard_output() -> None:
    """Let what Python still holds for stdout go nowhere, so that its last flush raises nothing."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def end_quickly() -> None:
    """Spare the interpreter its last search for garbage: with the memory of the whole process goes all of it.

    The search takes 25 ms, a fifth of what one host costs beyond its ssh.
    """
    atexit.register(gc.freeze)


def raise_file_limit() -> None:
    """Raise the soft limit on open files as far as the hard one allows; our children inherit it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def watch_children() -> None:
    """On CPython 3.11, see the running loop's children end without a thread for each; call it in that loop.

    From 3.12 on asyncio does so by itself.
    """
    if sys.version_info < (3, 12) and _has_pidfd():
        import asyncio

        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)


def _has_pidfd() -> bool:
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # before Linux 5.3, or forbidden by a sandbox
        return False
    return True
