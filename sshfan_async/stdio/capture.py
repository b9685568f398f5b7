"""Keeps the output of a run's commands: in memory up to a budget, then in one unlinked temporary file.

A thread writes to the file, so the event loop never waits for a disk. The reader of an output pauses while its data
is written, so a fast host cannot fill the memory.
"""

from __future__ import annotations

from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from sshfan_async.stdio.spilled import Spilled
from sshfan_async.stdio.spool import open_spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.stdio.spool import Spool

__all__ = ["NOTHING", "Capture", "Nothing", "Store"]

_JOIN_LIMIT = 1024 * 1024
"""Bytes. An output in memory that is longer stays in the chunks in which it was read."""
_SMALL = 4096
"""Bytes up to which chunks are joined when they arrive."""


class Store:
    """The memory budget and the temporary file that all captures of a run share. For one event loop only."""

    def __init__(self, memory: int) -> None:
        """`memory`: the most bytes that all captures together may hold in memory."""
        self._memory = memory
        self._reserved = 0
        self._spool: Spool | None = None
        self._writer: ThreadPoolExecutor | None = None

    def capture(self, limit: int | None) -> Capture:
        """Return a new, empty capture that keeps at most `limit` bytes, or all if `limit` is None."""
        return Capture(self, limit)

    def close(self) -> None:
        """End the writer thread. Captured output stays readable as long as it is referenced."""
        if self._writer is not None:
            self._writer.shutdown()
        if self._spool is not None:
            self._spool.close()

    def reserve(self, count: int) -> bool:
        """Reserve `count` bytes of the memory budget; return False if they do not fit."""
        if self._reserved + count > self._memory:
            return False
        self._reserved += count
        return True

    def release(self, count: int) -> None:
        """Release `count` reserved bytes."""
        self._reserved -= count

    def spill(self, count: int, write: Callable[[Spool, int], None]) -> tuple[Spool, int, Future[None]]:
        """Reserve `count` bytes of the file, and call `write` in the writer thread with the file and their offset.

        If that thread cannot be started, `write` is called here. Return the file, the offset, and a future that
        completes when `write` has returned.

        Raises:
            OSError: the temporary file cannot be created.

        """
        if self._spool is None:
            self._spool = open_spool()
            self._writer = ThreadPoolExecutor(1, "sshfan spill")
        spool, offset = self._spool, self._spool.reserve(count)
        if self._writer is not None:
            try:
                return spool, offset, self._writer.submit(write, spool, offset)
            except RuntimeError:
                # A limit on processes, or the interpreter is shutting down. `submit` may have queued the call before.
                self._writer.shutdown(wait=False, cancel_futures=True)
                self._writer = None
        return spool, offset, _done(write, spool, offset)


def _done(write: Callable[[Spool, int], None], spool: Spool, offset: int) -> Future[None]:
    """Call `write`; return a future with its result."""
    future: Future[None] = Future()
    try:
        write(spool, offset)
    except OSError as error:
        future.set_exception(error)
    else:
        future.set_result(None)
    return future


class Capture:
    """One output of one child, in order. Bytes beyond the limit are counted and dropped."""

    __slots__ = (
        "_chunks",
        "_extents",
        "_limit",
        "_queue",
        "_spool",
        "_store",
        "_writing",
        "dropped",
        "failure",
        "kept",
    )

    def __init__(self, store: Store, limit: int | None) -> None:
        self._store = store
        self._limit = limit
        self._chunks: list[bytes] | None = None
        self._spool: Spool | None = None
        self._extents: array[int] | None = None
        """Offset and length, in turn, of each part in the file."""
        self._writing: tuple[Future[None], int] | None = None
        """The write that was started last, and its size."""
        self._queue: list[bytes] | None = None
        self.kept = 0
        self.dropped = 0
        self.failure: OSError | None = None
        """Why output could not be kept."""

    def write(self, data: bytes) -> Future[None] | None:
        """Keep `data`, up to the limit; if it is spilled to the file, return a future for the end of the write.

        Data that arrives earlier is queued in memory. Call `flush` when the future completes.
        """
        if self._limit is not None and self.kept + len(data) > self._limit:
            room = self._limit - self.kept
            self.dropped += len(data) - room
            data = data[:room]
        if data == b"":
            return None
        if self.failure is not None:
            self.dropped += len(data)
            return None
        if self._spool is None and self._store.reserve(len(data)):
            if self._chunks is None:
                self._chunks = []
            _append(self._chunks, data)
            self.kept += len(data)
            return None
        if self._queue is not None or (self._writing is not None and not self._writing[0].done()):
            if self._queue is None:
                self._queue = []
            _append(self._queue, data)
            self.kept += len(data)
            return None
        return self._spill(len(data), lambda spool, offset: spool.write(data, offset))

    def flush(self) -> Future[None] | None:
        """Spill the queued data; return a future for the end of the write, or None if nothing is queued."""
        self._finish_write()
        chunks, size = self._pop_queue()
        if size == 0:
            return None
        return self._spill(size, lambda spool, offset: spool.write_all(chunks, offset))

    @property
    def spilling(self) -> bool:
        """Whether new data goes to the file, so that `move` can take it from a pipe."""
        return self._spool is not None and self.failure is None and (self._limit is None or self.kept < self._limit)

    def move(self, descriptor: int, count: int) -> Future[None] | None:
        """Spill `count` bytes from a pipe that holds at least as many; fewer if the limit is near.

        Only if `spilling`. Return as `write` does. Do not read the pipe before the future completes.
        """
        if self._limit is not None:
            count = min(count, self._limit - self.kept)
        self.drain()
        return self._spill(count, lambda spool, offset: spool.move(descriptor, count, offset))

    def drain(self) -> None:
        """Wait for the current write, then write the queued data. Blocks the thread."""
        self._finish_write()
        chunks, size = self._pop_queue()
        if size > 0:
            assert self._spool is not None
            offset = self._spool.reserve(size)
            self._add_extent(offset, size)
            try:
                self._spool.write_all(chunks, offset)
            except OSError as error:
                self._undo_extent(error, size)

    def _pop_queue(self) -> tuple[list[bytes], int]:
        """Empty the queue, and no longer count its data as kept; return the data and its size.

        If an earlier write has failed, drop the data and return nothing.
        """
        chunks, self._queue = self._queue or [], None
        size = sum(map(len, chunks))
        self.kept -= size
        if self.failure is not None:
            self.dropped += size
            return [], 0
        return chunks, size

    def _finish_write(self) -> None:
        if self._writing is not None:
            writing, count = self._writing
            self._writing = None
            try:
                writing.result()
            except OSError as error:
                self._undo_extent(error, count)

    def clear(self) -> None:
        """Discard the output: the command did not write it."""
        self.drain()
        self._store.release(sum(map(len, self._chunks or ())))
        self._chunks = self._extents = None
        self.kept = self.dropped = 0

    def value(self) -> bytes | Spilled:
        """Return the output."""
        self.drain()
        chunks = self._chunks or []
        if self._extents is not None or sum(map(len, chunks)) > _JOIN_LIMIT:
            return Spilled(tuple(chunks), self._spool, self._extents or array("Q"))
        return b"".join(chunks)

    def _spill(self, count: int, write: Callable[[Spool, int], None]) -> Future[None] | None:
        self._finish_write()
        try:
            self._spool, offset, writing = self._store.spill(count, write)
        except OSError as error:
            self._fail(error)
            self.dropped += count
            return None
        self._add_extent(offset, count)
        self._writing = writing, count
        return writing

    def _add_extent(self, offset: int, count: int) -> None:
        """Add the `count` bytes at `offset` in the file to the output. Their write may still be running."""
        self.kept += count
        if self._extents is None:
            self._extents = array("Q")
        if len(self._extents) > 0 and self._extents[-2] + self._extents[-1] == offset:
            self._extents[-1] += count
        else:
            self._extents.extend((offset, count))

    def _undo_extent(self, error: OSError, count: int) -> None:
        """Undo the last extent, of `count` bytes: its write failed."""
        assert self._extents is not None
        self._extents[-1] -= count
        self.kept -= count
        self.dropped += count
        self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error.with_traceback(None)  # its frames refer to this capture and to the file


def _append(chunks: list[bytes], data: bytes) -> None:
    """Add `data` to `chunks`. Join small chunks: each one is an object of up to 50 bytes more than its data."""
    if chunks and len(chunks[-1]) + len(data) <= _SMALL:
        chunks[-1] += data
    else:
        chunks.append(data)


class Nothing:
    """The capture of an output that is empty. One is shared by all: most hosts write to one output at most."""

    __slots__ = ()

    kept = 0
    dropped = 0
    failure = None

    def drain(self) -> None:
        """Do nothing: there is no write to wait for."""

    def clear(self) -> None:
        """Do nothing: there is no output."""

    def value(self) -> bytes:
        """Return the output, which is empty."""
        return b""


NOTHING = Nothing()
