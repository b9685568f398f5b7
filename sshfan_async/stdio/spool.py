"""The temporary file of a run, for output that exceeds the memory budget and for standard input from a stream.

Without help, the kernel keeps written data in its page cache until most of the machine's memory is taken, and a
container is charged for it. So the file is written back while it grows: data that is 128 MiB behind the end is on the
disk, and its pages are freed. This also saves the kernel new pages, which are dear on a virtual machine that has not
used its memory yet: 4 GB took 0.9 s of CPU, and 10 s without.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Spool", "open_spool"]

_IOV_MAX = 1024
"""The most buffers that one pwritev(2) takes."""

_BUFFER = 256 * 1024

_WINDOW = 32 * 1024 * 1024
"""Bytes that are written back at once."""

_CACHED = 128 * 1024 * 1024
"""Bytes that stay in the page cache, so that the disk has time to take them."""


class Spool:
    """The temporary file. It has no name, and the kernel frees it when the last reference is gone.

    One thread at a time writes, in roughly the order of the offsets.
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_descriptor",
        "_size",
        "_writeback",
        "_writing_back",
        "_written",
        "_written_back",
    )

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: an open file, which this object closes in the end."""
        self._descriptor = descriptor
        self._size = 0
        self._buffer = memoryview(bytearray(_BUFFER))
        self._written = 0
        self._written_back = 0
        self._writeback: ThreadPoolExecutor | None = None
        self._writing_back = False
        self._closed = False

    def reserve(self, count: int) -> int:
        """Reserve `count` bytes at the end of the file; return their offset."""
        offset = self._size
        self._size += count
        return offset

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written
        self._start_writeback(offset)

    def write_all(self, chunks: list[bytes], offset: int) -> None:
        """Write `chunks` one after the other, from `offset` on."""
        for start in range(0, len(chunks), _IOV_MAX):
            some = chunks[start : start + _IOV_MAX]
            size = sum(map(len, some))
            written = os.pwritev(self._descriptor, some, offset) if hasattr(os, "pwritev") else 0
            if written < size:
                self.write(memoryview(b"".join(some))[written:], offset + written)
            offset += size
        self._start_writeback(offset)

    def move(self, descriptor: int, count: int, offset: int) -> None:
        """Write `count` bytes from a pipe that holds at least as many. They are read even if the write fails."""
        moved = self._splice(descriptor, count, offset)
        count, offset = count - moved, offset + moved
        failure: OSError | None = None
        while count > 0:
            data = self._buffer[: os.readv(descriptor, [self._buffer[:count]])]
            count -= len(data)
            if failure is None:
                try:
                    self.write(data, offset)
                except OSError as error:
                    failure = error
                offset += len(data)
        if failure is not None:
            raise failure

    def _splice(self, descriptor: int, count: int, offset: int) -> int:
        """Move up to `count` bytes inside the kernel (splice(2), Linux); return how many were moved."""
        moved = 0
        if hasattr(os, "splice"):
            # After an error, `move` reads and writes the other bytes, and reports the error if it persists.
            with contextlib.suppress(OSError):
                while moved < count:
                    moved += os.splice(descriptor, self._descriptor, count - moved, offset_dst=offset + moved)
        self._start_writeback(offset + moved)
        return moved

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes at `offset`; fewer at the end of the file."""
        pieces = []
        while count > 0 and (piece := os.pread(self._descriptor, count, offset)):  # at most 2 GiB (read(2))
            pieces.append(piece)
            count, offset = count - len(piece), offset + len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Stop the write-back. Written data stays readable as long as this object is referenced."""
        self._closed = True
        if self._writeback is not None:
            self._writeback.shutdown(wait=False)

    def _start_writeback(self, written: int) -> None:
        """Write back the data before offset `written`, in another thread: a slow disk must not block this one."""
        self._written = max(self._written, written)
        if self._written - self._written_back >= _WINDOW and not self._writing_back and not self._closed:
            if self._writeback is None:
                self._writeback = ThreadPoolExecutor(1, "sshfan write-back")
            self._writing_back = True
            # If no thread can be started, the data is still in the file.
            with contextlib.suppress(RuntimeError):
                self._writeback.submit(self._write_back)

    def _write_back(self) -> None:
        while self._written - self._written_back >= _WINDOW and not self._closed:
            # The advice starts the write of dirty pages, and frees the pages that are already clean (mm/fadvise.c).
            self._advise(self._written_back)
            self._advise(self._written_back - _CACHED)
            self._written_back += _WINDOW
        self._writing_back = False

    def _advise(self, start: int) -> None:
        if start >= 0 and hasattr(os, "posix_fadvise"):
            # Best effort: if this fails, the data is still in the file.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._descriptor, start, _WINDOW, os.POSIX_FADV_DONTNEED)

    def __del__(self) -> None:
        os.close(self._descriptor)


def open_spool() -> Spool:
    """Create a spool file in $TMPDIR, else in /var/tmp.

    Raises:
        OSError: the temporary file cannot be created.

    """
    # /var/tmp is for large files (FHS); /tmp may be held in memory.
    directory = None if "TMPDIR" in os.environ or not os.access("/var/tmp", os.W_OK) else "/var/tmp"
    with tempfile.TemporaryFile(prefix="sshfan-", dir=directory) as file:
        return Spool(os.dup(file.fileno()))
