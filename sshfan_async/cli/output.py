"""Bytes to the standard descriptors, whole and unbuffered, and what it means when they take no more."""

from __future__ import annotations

import errno
import os
import select
import signal

from sshfan_async.escape import one_line

__all__ = ["STDERR", "STDOUT", "OutputClosed", "OutputFailed", "output_error", "say", "write"]

STDOUT = 1
STDERR = 2


class OutputClosed(Exception):
    """Nobody reads our stdout any more: its reader (`| head`) or its terminal has gone."""

    def __init__(self, by: signal.Signals = signal.SIGPIPE) -> None:
        self.by = by
        """The signal that tells the same: `set -o pipefail` knows 128 + SIGPIPE."""


class OutputFailed(Exception):
    """Our stdout cannot be written; the message says why."""


def write(descriptor: int, data: bytes) -> None:
    """Write all of `data`; what stderr does not take is lost, since there is nobody left to tell.

    Raises:
        OutputClosed, OutputFailed: for stdout.

    """
    left = memoryview(data)
    try:
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:  # somebody who shares the descriptor has set O_NONBLOCK
                select.select([], [descriptor], [])
    except OSError as error:
        if descriptor != STDOUT:
            return
        raise output_error(error) from None


def output_error(error: OSError) -> OutputClosed | OutputFailed:
    """Return what `error` means, which came of writing to stdout."""
    if error.errno in (errno.EPIPE, errno.EIO):  # EIO: the terminal has hung up
        return OutputClosed()
    return OutputFailed(f"cannot write to standard output: {error.strerror}")


def say(line: str) -> None:
    """Write one line to stderr, whatever `line` holds."""
    write(STDERR, one_line(line).encode("utf-8", "backslashreplace") + b"\n")
