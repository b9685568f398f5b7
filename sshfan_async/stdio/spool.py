"""The unlinked temporary file of a run, to which the outputs go that outgrow its memory.

Without our word, all that is written stays in the kernel's page cache until that has taken most of the machine's
memory, and in a container it counts as ours. So it is written behind: what is 128 MiB back is on the disk and has
left the cache. That also spares the kernel to find a new page for each 4 KiB. Where nobody had used those before
since the machine began, a virtual one say, for which its host must fetch each, it took 10 s of CPU for 4 GB in place
of 0.9.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Spool", "open_spool"]

_IOV_MAX = 1024
"""Pieces that one pwritev(2) takes."""

_BUFFER = 256 * 1024

_WINDOW = 32 * 1024 * 1024
"""Bytes that are written behind at once."""

_CACHED = 128 * 1024 * 1024
"""Bytes that may stay in the page cache: time for the disk to take them."""


class Spool:
    """The temporary file. It has no name, and is gone with the last reference to it.

    Its bytes are written in about the order of their places in it, by one thread at a time.
    """

    __slots__ = ("_behind", "_buffer", "_busy", "_cleaned", "_closed", "_descriptor", "_size", "_written")

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: that of the file, which is ours from now on."""
        self._descriptor = descriptor
        self._size = 0
        self._buffer = memoryview(bytearray(_BUFFER))
        self._written = 0
        self._cleaned = 0
        self._behind: ThreadPoolExecutor | None = None
        self._busy = False
        self._closed = False

    def reserve(self, count: int) -> int:
        """Return the place of the next `count` bytes."""
        offset = self._size
        self._size += count
        return offset

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write `data`, whole."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written
        self._write_behind(offset)

    def write_all(self, pieces: list[bytes], offset: int) -> None:
        """Write `pieces` one behind the other."""
        for start in range(0, len(pieces), _IOV_MAX):
            some = pieces[start : start + _IOV_MAX]
            size = sum(map(len, some))
            written = os.pwritev(self._descriptor, some, offset) if hasattr(os, "pwritev") else 0
            if written < size:
                self.write(memoryview(b"".join(some))[written:], offset + written)
            offset += size
        self._write_behind(offset)

    def move(self, descriptor: int, count: int, offset: int) -> None:
        """Write the next `count` bytes of a pipe that holds as many; read them also where they cannot be written."""
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
        """Move what can be moved without a copy to us and back (splice(2), Linux); return how much that was."""
        moved = 0
        if hasattr(os, "splice"):
            # Whatever is in its way, `move` meets it again, and tells.
            with contextlib.suppress(OSError):
                while moved < count:
                    moved += os.splice(descriptor, self._descriptor, count - moved, offset_dst=offset + moved)
        self._write_behind(offset + moved)
        return moved

    def read(self, offset: int, count: int) -> bytes:
        """Return what was written there; less at the end of the file."""
        pieces = []
        while count > 0 and (piece := os.pread(self._descriptor, count, offset)):  # at most 2 GiB (read(2))
            pieces.append(piece)
            count, offset = count - len(piece), offset + len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Write no more. What was written stays readable for as long as somebody holds this."""
        self._closed = True
        if self._behind is not None:
            self._behind.shutdown(wait=False)

    def _write_behind(self, written: int) -> None:
        """Have the disk take what is `written` by now, from another thread: a slow disk shall hold nobody up here."""
        self._written = max(self._written, written)
        if self._written - self._cleaned >= _WINDOW and not self._busy and not self._closed:
            if self._behind is None:
                self._behind = ThreadPoolExecutor(1, "sshfan write-behind")
            self._busy = True
            # Where no thread can be had, the file is written all the same.
            with contextlib.suppress(RuntimeError):
                self._behind.submit(self._clean)

    def _clean(self) -> None:
        while self._written - self._cleaned >= _WINDOW and not self._closed:
            # Of what is not on the disk this begins the writing, of the rest it empties the cache (mm/fadvise.c).
            self._forget(self._cleaned)
            self._forget(self._cleaned - _CACHED)
            self._cleaned += _WINDOW
        self._busy = False

    def _forget(self, start: int) -> None:
        if start >= 0 and hasattr(os, "posix_fadvise"):
            # To no avail is no harm: the bytes are in the file.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._descriptor, start, _WINDOW, os.POSIX_FADV_DONTNEED)

    def __del__(self) -> None:
        os.close(self._descriptor)


def open_spool() -> Spool:
    """Return a new one, in TMPDIR or /var/tmp.

    Raises:
        OSError: no temporary file can be made.

    """
    # /var/tmp is for large files (FHS); /tmp may be held in memory.
    directory = None if "TMPDIR" in os.environ or not os.access("/var/tmp", os.W_OK) else "/var/tmp"
    with tempfile.TemporaryFile(prefix="sshfan-", dir=directory) as file:
        return Spool(os.dup(file.fileno()))
