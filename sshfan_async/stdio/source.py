"""The standard input of a run: one `Source`, which each host reads at its own offset."""

from __future__ import annotations

import contextlib
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
    """Bytes of a known size, which many readers read at any offset."""

    size: int

    def read_at(self, offset: int, count: int) -> bytes | memoryview:
        """Return up to `count` bytes at `offset`; none at the end."""
        ...

    def close(self) -> None:
        """Free the memory or the file descriptor."""
        ...


class _Memory:
    __slots__ = ("_view", "size")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        # A copy, because the caller may change a bytearray while the run reads it.
        self._view = memoryview(bytes(data))
        self.size = len(self._view)

    def read_at(self, offset: int, count: int) -> memoryview:
        return self._view[offset : offset + count]

    def close(self) -> None:
        self._view.release()


class _File:
    """A regular file, read with pread(2) on a duplicate descriptor: the caller's file position does not change."""

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
    """The bytes of a stream, copied to a spool file."""

    __slots__ = ("_spool", "size")

    def __init__(self, spool: Spool, size: int) -> None:
        self._spool = spool
        self.size = size

    def read_at(self, offset: int, count: int) -> bytes:
        return self._spool.read(offset, min(count, self.size - offset))

    def close(self) -> None:
        del self._spool  # the kernel frees the file with its last reference


async def open_source(value: Input) -> Source:
    """Return a source of the bytes of `value`.

    A regular file is read from its current position, which does not change. Any other stream (a pipe, a socket, an
    object without a descriptor) is first copied to an unlinked temporary file, in a thread. A cancellation ends that
    thread, unless it is blocked in the `read` of an object without a descriptor.

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
    cancel_read_end, cancel_write_end = os.pipe()
    unused = [cancel_read_end]  # the thread takes it out, and closes it
    try:
        return await anyio.to_thread.run_sync(lambda: _copied(value, unused.pop()), abandon_on_cancel=True)
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "no thread can be started to read it (ulimit -u)") from error
    finally:
        os.close(cancel_write_end)
        with contextlib.suppress(IndexError):
            os.close(unused.pop())


def _is_plain_file(stream: BinaryIO) -> bool:
    """Whether the file behind `stream` can be read instead of `stream`.

    This is not so for a GzipFile, whose file has other bytes, and for a file in procfs, which reports no size.
    """
    raw = getattr(stream, "raw", getattr(stream, "file", stream))
    raw = getattr(raw, "raw", raw)
    if not isinstance(raw, io.FileIO):
        return False
    state = os.fstat(raw.fileno())
    return stat.S_ISREG(state.st_mode) and state.st_size > 0


def _copied(stream: BinaryIO, cancel_pipe: int) -> _Spooled:
    """Copy `stream` to a spool file; stop early if the write end of `cancel_pipe` is closed."""
    try:
        spool, size = open_spool(), 0
        try:
            while data := _read_some(stream, cancel_pipe):
                spool.write(data, spool.reserve(len(data)))
                size += len(data)
            spool.close()
        except Exception as error:
            spool.close()
            del spool  # the traceback of the exception would keep the file open
            if isinstance(error, OSError):
                raise
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error  # of the stream's own code
        except BaseException:
            spool.close()
            del spool  # the traceback of the exception would keep the file open
            raise
        return _Spooled(spool, size)
    finally:
        os.close(cancel_pipe)


def _read_some(stream: BinaryIO, cancel_pipe: int) -> bytes:
    try:
        descriptors = [stream.fileno(), cancel_pipe]
    except (OSError, AttributeError):
        return stream.read(_CHUNK)
    if cancel_pipe in select.select(descriptors, [], [])[0]:
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
    # `read` would block until it has all the bytes that it is asked for.
    return getattr(stream, "read1", stream.read)(_CHUNK)
