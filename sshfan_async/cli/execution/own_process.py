"""Set up our own process in ways that a library must not: descriptors, limits, SIGCHLD."""

from __future__ import annotations

import gc
import os
import signal
import sys

__all__ = [
    "collect_garbage",
    "discard_standard_output",
    "end",
    "keep_garbage",
    "open_standard_descriptors",
    "raise_at_ctrl_c",
    "raise_file_limit",
    "restore_sigchld",
]

_ENOUGH_FILES = 65536
"""More would cost time: some programs close every descriptor up to the limit before they start another one."""


def open_standard_descriptors() -> None:
    """Open descriptors 0 to 2 if our caller closed them (`>&-`), or one of our pipes would become stdout.

    They are read-only, so that a write to them fails and is reported.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # open takes the lowest free number: this one


def restore_sigchld() -> None:
    """Stop ignoring SIGCHLD if our caller did (exec keeps that), or we could not get the exit codes of ssh."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def discard_standard_output() -> None:
    """Send Python's buffered stdout to the null device, so that its last flush does not raise."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def keep_garbage() -> None:
    """Collect no garbage until `collect_garbage`: imports make none, and 60 collections would take 6 ms."""
    gc.disable()


def collect_garbage() -> None:
    """Collect garbage from now on, but do not search the modules that are loaded."""
    gc.freeze()
    gc.enable()


def end(code: int) -> None:
    """End this process now. The interpreter's own end takes 5 ms, and frees memory that the kernel frees anyway.

    Return if Python's buffered output cannot be written. The interpreter then says so at its own end.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # its descriptor was closed at startup
                stream.flush()
    except OSError:
        return
    os._exit(code)


def raise_at_ctrl_c() -> None:
    """Let SIGINT raise KeyboardInterrupt, unless our caller ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def raise_file_limit() -> None:
    """Raise the soft limit on open files to the hard limit, at most `_ENOUGH_FILES`. Our children inherit it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
