"""Opens and reads the pipes of a child. Our ends do not block."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import termios

__all__ = ["CHUNK", "DEFAULT_SIZE", "available", "enlarge", "open_pipe", "read", "readable_bytes"]

CHUNK = 256 * 1024
"""The most bytes that are read at once."""
DEFAULT_SIZE = 64 * 1024
"""The capacity of a new pipe in bytes (pipe(7))."""
_LARGE_SIZE = 1024 * 1024


def open_pipe(ours: list[int], theirs: list[int], *, reading: bool = True) -> tuple[int, int]:
    """Open a pipe; return our end, which does not block, and the child's. Append each to its list.

    `reading`: whether our end is the one to read from.

    Raises:
        OSError: there are no descriptors left.

    """
    read_end, write_end = os.pipe()
    our_end, their_end = (read_end, write_end) if reading else (write_end, read_end)
    ours.append(our_end)
    theirs.append(their_end)
    os.set_blocking(our_end, False)
    return our_end, their_end


def read(descriptor: int, count: int) -> bytes | None:
    """Read at most `count` bytes. Return None if the pipe is empty now, and no bytes at its end."""
    try:
        return os.read(descriptor, count)
    except BlockingIOError:
        return None


def readable_bytes(descriptor: int) -> int:
    """Return how many bytes are in the pipe now (FIONREAD, pipe(7))."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def available(descriptor: int) -> list[bytes]:
    """Read the bytes that are in the pipe now, and none that are written meanwhile."""
    remaining, chunks = readable_bytes(descriptor), []
    while remaining > 0:
        data = read(descriptor, min(remaining, CHUNK))
        if not data:
            break
        chunks.append(data)
        remaining -= len(data)
    return chunks


def enlarge(descriptor: int) -> None:
    """Enlarge the pipe to 1 MiB (Linux), so that a child that writes a lot needs fewer turns of the loop."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _LARGE_SIZE)
