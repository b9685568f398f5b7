"""Write to stdout and stderr without buffering, and classify write errors."""

from __future__ import annotations

import errno
import os
import select
import signal
import stat

from sshfan_async.escape import one_line

__all__ = ["STDERR", "STDOUT", "OutputClosed", "OutputFailed", "output_error", "say", "write"]

STDOUT = 1
STDERR = 2


class OutputClosed(Exception):
    """The reader of our stdout has gone: a pipe (`| head`) or a terminal was closed."""

    def __init__(self, by: signal.Signals = signal.SIGPIPE) -> None:
        self.by = by
        """The signal for the exit code: SIGPIPE for a pipe, as shells expect; SIGHUP for a terminal."""


class OutputFailed(Exception):
    """Our stdout or an output file cannot be written; the message says why."""


def write(descriptor: int, data: bytes) -> None:
    """Write all of `data`. Errors on stderr are ignored, because they cannot be reported.

    Raises:
        OutputClosed, OutputFailed: `descriptor` is stdout and cannot be written.

    """
    left = memoryview(data)
    try:
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:  # another process that shares the descriptor has set O_NONBLOCK
                select.select([], [descriptor], [])
    except OSError as error:
        if descriptor != STDOUT:
            return
        raise output_error(error) from None


def output_error(error: OSError) -> OutputClosed | OutputFailed:
    """Return the exception for `error`, an error of writing to stdout."""
    if error.errno == errno.EPIPE:
        return OutputClosed()
    if error.errno == errno.EIO and stat.S_ISCHR(os.fstat(STDOUT).st_mode):  # the terminal was closed
        return OutputClosed(signal.SIGHUP)
    return OutputFailed(f"cannot write to standard output: {error.strerror}")


def say(line: str) -> None:
    """Write one line to stderr. Newlines in `line` become spaces; other control characters are escaped."""
    write(STDERR, one_line(line).encode("utf-8", "backslashreplace") + b"\n")
