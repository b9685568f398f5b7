"""Reading a child's pipes: our ends do not block, and nothing waits for the end of a pipe."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import termios

__all__ = ["CHUNK", "DEFAULT_SIZE", "available", "enlarge", "open_pipe", "read", "readable_bytes"]

CHUNK = 256 * 1024
"""Bytes that are read at once, at most."""
DEFAULT_SIZE = 64 * 1024
"""Bytes that a new pipe holds (pipe(7))."""
_LARGE_SIZE = 1024 * 1024


def open_pipe(ours: list[int], theirs: list[int], *, reading: bool = True) -> tuple[int, int]:
    """Return our end, which does not block, and the child's; append each to its list. `reading`: we read.

    Raises:
        OSError: out of descriptors.

    """
    read_end, write_end = os.pipe()
    our_end, their_end = (read_end, write_end) if reading else (write_end, read_end)
    ours.append(our_end)
    theirs.append(their_end)
    os.set_blocking(our_end, False)
    return our_end, their_end


def read(descriptor: int, count: int) -> bytes | None:
    """Read what is there, at most `count` bytes: None if there is nothing yet, empty at the end."""
    try:
        return os.read(descriptor, count)
    except BlockingIOError:
        return None


def readable_bytes(descriptor: int) -> int:
    """Return how many bytes the pipe holds now (FIONREAD, pipe(7))."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def available(descriptor: int) -> list[bytes]:
    """Read what the pipe holds now, and nothing that is written meanwhile."""
    left, chunks = readable_bytes(descriptor), []
    while left > 0:
        data = read(descriptor, min(left, CHUNK))
        if not data:
            break
        chunks.append(data)
        left -= len(data)
    return chunks


def enlarge(descriptor: int) -> None:
    """Let the pipe hold 1 MiB (Linux): fewer turns of the loop for a child that writes a lot."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _LARGE_SIZE)
