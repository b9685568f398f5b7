"""What every host gets on its standard input: one `Source`, read in place by all of them."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
from typing import TYPE_CHECKING, BinaryIO, Protocol

import anyio

from sshfan_async.stdio.spool import open_spool
from sshfan_async.stdio.stdin import encoded

if TYPE_CHECKING:
    from sshfan_async.settings import Input
    from sshfan_async.stdio.spool import Spool

__all__ = ["Source", "open_source"]

_CHUNK = 1024 * 1024


class Source(Protocol):
    """Bytes that many readers read, each at its own offset."""

    size: int

    def read_at(self, offset: int, count: int) -> bytes | memoryview:
        """Return up to `count` bytes at `offset`; empty at the end."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class _Memory:
    __slots__ = ("_view", "size")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        # A copy of a bytearray, so that a caller who goes on to change it does not change what later hosts get.
        self._view = memoryview(bytes(data))
        self.size = len(self._view)

    def read_at(self, offset: int, count: int) -> memoryview:
        return self._view[offset : offset + count]

    def close(self) -> None:
        self._view.release()


class _File:
    """A regular file by a descriptor of our own: `pread` leaves the caller's file position alone."""

    __slots__ = ("_descriptor", "_start", "size")

    def __init__(self, descriptor: int, start: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self.size = max(0, os.fstat(descriptor).st_size - start)

    def read_at(self, offset: int, count: int) -> bytes:
        return os.pread(self._descriptor, min(count, self.size - offset), self._start + offset)

    def close(self) -> None:
        os.close(self._descriptor)


class _Spooled:
    """What came from a stream, in a spool file."""

    __slots__ = ("_spool", "size")

    def __init__(self, spool: Spool, size: int) -> None:
        self._spool = spool
        self.size = size

    def read_at(self, offset: int, count: int) -> bytes:
        return self._spool.read(offset, min(count, self.size - offset))

    def close(self) -> None:
        del self._spool  # the file ends with its last reference


async def open_source(value: Input) -> Source:
    """Return the source of `value`, once a pipe or another stream is copied to a temporary file.

    A regular file is read in place, from its position on, and its position is left as it is. What cannot be read
    at an offset (a pipe, a socket, an object without a descriptor) goes to one unlinked temporary file first, in a
    thread; cancelled meanwhile, that thread ends, unless an object without a descriptor blocks it.

    Raises:
        OSError: the file cannot be read, or the temporary file cannot be written.

    """
    if isinstance(value, str):
        return _Memory(encoded(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _Memory(value)
    if isinstance(value, io.BytesIO):
        return _Memory(value.getbuffer()[value.tell() :])
    if _is_plain_file(value):
        return _File(os.dup(value.fileno()), value.tell())
    given_up, give_up = os.pipe()
    try:
        return await anyio.to_thread.run_sync(_copied, value, given_up, abandon_on_cancel=True)
    finally:
        os.close(give_up)


def _is_plain_file(stream: BinaryIO) -> bool:
    """Whether `stream` reads what its descriptor holds: not so a GzipFile, or a file of procfs, which has no size."""
    raw = getattr(stream, "raw", getattr(stream, "file", stream))
    raw = getattr(raw, "raw", raw)
    if not isinstance(raw, io.FileIO):
        return False
    state = os.fstat(raw.fileno())
    return stat.S_ISREG(state.st_mode) and state.st_size > 0


def _copied(stream: BinaryIO, given_up: int) -> _Spooled:
    """Copy `stream` to a spool file, until it ends or the write end of the pipe `given_up` is closed."""
    try:
        spool, size = open_spool(), 0
        try:
            while data := _read_some(stream, given_up):
                spool.write(data, spool.reserve(len(data)))
                size += len(data)
        finally:
            spool.close()
        return _Spooled(spool, size)
    finally:
        os.close(given_up)


def _read_some(stream: BinaryIO, given_up: int) -> bytes:
    try:
        waits_for = [stream.fileno(), given_up]
    except (OSError, AttributeError):
        return stream.read(_CHUNK)
    if given_up in select.select(waits_for, [], [])[0]:
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
    # Not `read`, which would block until it has all of what it was asked for.
    return getattr(stream, "read1", stream.read)(_CHUNK)
