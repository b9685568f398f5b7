"""The unlinked temporary file of a run, to which the outputs go that outgrow its memory."""

from __future__ import annotations

import contextlib
import os
import tempfile

__all__ = ["Spool", "open_spool"]

_IOV_MAX = 1024
"""Pieces that one pwritev(2) takes."""

_BUFFER = 256 * 1024


class Spool:
    """The temporary file. It has no name, and is gone with the last reference to it."""

    __slots__ = ("_buffer", "_descriptor", "_size")

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: that of the file, which is ours from now on."""
        self._descriptor = descriptor
        self._size = 0
        self._buffer = memoryview(bytearray(_BUFFER))

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

    def write_all(self, pieces: list[bytes], offset: int) -> None:
        """Write `pieces` one behind the other."""
        for start in range(0, len(pieces), _IOV_MAX):
            some = pieces[start : start + _IOV_MAX]
            size = sum(map(len, some))
            written = os.pwritev(self._descriptor, some, offset) if hasattr(os, "pwritev") else 0
            if written < size:
                self.write(memoryview(b"".join(some))[written:], offset + written)
            offset += size

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
        return moved

    def read(self, offset: int, count: int) -> bytes:
        """Return what was written there; less at the end of the file."""
        pieces = []
        while count > 0 and (piece := os.pread(self._descriptor, count, offset)):  # at most 2 GiB (read(2))
            pieces.append(piece)
            count, offset = count - len(piece), offset + len(piece)
        return b"".join(pieces)

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
