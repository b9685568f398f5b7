"""What the children of a run write, kept: in memory up to a budget, beyond it in one unlinked temporary file.

What outgrows the memory is written to the file by a thread, one piece at a time, while its reader pauses: the event
loop never waits for a disk, and a fast host cannot fill our memory.
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

_SMALL = 1024 * 1024
"""Bytes up to which an output in memory becomes one piece."""


class Store:
    """Where one run's outputs are kept. Not safe to share among event loops."""

    def __init__(self, memory: int) -> None:
        """`memory`: bytes that all captures together hold in memory."""
        self._memory = memory
        self._held = 0
        self._spool: Spool | None = None
        self._writer: ThreadPoolExecutor | None = None

    def capture(self, limit: int | None) -> Capture:
        """Return a new, empty capture that keeps at most `limit` bytes, None for all."""
        return Capture(self, limit)

    def close(self) -> None:
        """End the writing thread. What was kept stays readable for as long as somebody holds it."""
        if self._writer is not None:
            self._writer.shutdown()
        if self._spool is not None:
            self._spool.close()

    def reserve(self, count: int) -> bool:
        """Count `count` bytes as held in memory; False where that is full."""
        if self._held + count > self._memory:
            return False
        self._held += count
        return True

    def release(self, count: int) -> None:
        """`count` bytes are no longer held in memory."""
        self._held -= count

    def spill(self, count: int, put: Callable[[Spool, int], None]) -> tuple[Spool, int, Future[None]]:
        """Let a thread `put` the next `count` bytes into the file; return the file, the place in it, and a future.

        Raises:
            OSError: no temporary file can be made.

        """
        if self._spool is None or self._writer is None:
            self._spool = open_spool()
            self._writer = ThreadPoolExecutor(1, "sshfan spill")
        offset = self._spool.reserve(count)
        return self._spool, offset, self._writer.submit(put, self._spool, offset)


class Capture:
    """The bytes of one output of one child, in order; what is beyond its limit is counted and thrown away."""

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
        self._writing: tuple[Future[None], int] | None = None
        self._queue: list[bytes] | None = None
        self.kept = 0
        self.dropped = 0
        self.failure: OSError | None = None
        """Why output could not be kept."""

    def write(self, data: bytes) -> Future[None] | None:
        """Keep `data`, as far as the limit allows. Where it goes to the file, return when it is written.

        What comes before that waits, in memory, for `flush`, which is due then.
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
            self._chunks.append(data)
            self.kept += len(data)
            return None
        if self._queue is not None or (self._writing is not None and not self._writing[0].done()):
            if self._queue is None:
                self._queue = []
            self._queue.append(data)
            self.kept += len(data)
            return None
        return self._spill(len(data), lambda spool, offset: spool.write(data, offset))

    def flush(self) -> Future[None] | None:
        """Write what has come since the last write began; return when that is written, None where nothing came."""
        self._end_writing()
        pieces, size = self._pop_queue()
        if size == 0:
            return None
        return self._spill(size, lambda spool, offset: spool.write_all(pieces, offset))

    @property
    def in_file(self) -> bool:
        """Whether what comes next goes to the file, and need not pass through the memory: see `move`."""
        return self._spool is not None and self.failure is None and (self._limit is None or self.kept < self._limit)

    def move(self, descriptor: int, count: int) -> Future[None] | None:
        """Keep the next `count` bytes of a pipe that holds as many, or fewer if the limit is near; as `write`.

        Only where they go to the file (`in_file`). Nobody else reads the pipe before the future is done.
        """
        if self._limit is not None:
            count = min(count, self._limit - self.kept)
        self.settle()
        return self._spill(count, lambda spool, offset: spool.move(descriptor, count, offset))

    def settle(self) -> None:
        """Wait until all is written that has been given to the file."""
        self._end_writing()
        pieces, size = self._pop_queue()
        if size > 0:
            assert self._spool is not None
            offset = self._spool.reserve(size)
            self._extend(offset, size)
            try:
                self._spool.write_all(pieces, offset)
            except OSError as error:
                self._give_up(error, size)

    def _pop_queue(self) -> tuple[list[bytes], int]:
        """Return what waits, no longer counted as kept, and its size; nothing where it cannot be written any more."""
        pieces, self._queue = self._queue or [], None
        size = sum(map(len, pieces))
        self.kept -= size
        if self.failure is not None:
            self.dropped += size
            return [], 0
        return pieces, size

    def _end_writing(self) -> None:
        if self._writing is not None:
            writing, count = self._writing
            self._writing = None
            try:
                writing.result()
            except OSError as error:
                self._give_up(error, count)

    def clear(self) -> None:
        """Forget what was kept: it was not the command's."""
        self.settle()
        self._store.release(sum(map(len, self._chunks or ())))
        self._chunks = self._extents = None
        self.kept = self.dropped = 0

    def value(self) -> bytes | Spilled:
        """Return what was kept."""
        self.settle()
        chunks = self._chunks or []
        if self._extents is not None or sum(map(len, chunks)) > _SMALL:
            return Spilled(tuple(chunks), self._spool, self._extents or array("Q"))
        return b"".join(chunks)

    def _spill(self, count: int, put: Callable[[Spool, int], None]) -> Future[None] | None:
        self._end_writing()
        try:
            self._spool, offset, writing = self._store.spill(count, put)
        except OSError as error:
            self._fail(error)
            self.dropped += count
            return None
        self._extend(offset, count)
        self._writing = writing, count
        return writing

    def _extend(self, offset: int, count: int) -> None:
        """The next `count` bytes are those at `offset` in the file, once they are written."""
        self.kept += count
        if self._extents is None:
            self._extents = array("Q")
        if len(self._extents) > 0 and self._extents[-2] + self._extents[-1] == offset:
            self._extents[-1] += count
        else:
            self._extents.extend((offset, count))

    def _give_up(self, error: OSError, count: int) -> None:
        """The last `count` bytes of what was given to the file are not there."""
        assert self._extents is not None
        self._extents[-1] -= count
        self.kept -= count
        self.dropped += count
        self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error.with_traceback(None)  # its frames would keep this capture, and the file


class Nothing:
    """What is kept of an output to which nothing was written: one for all, for most hosts write to one at most."""

    __slots__ = ()

    kept = 0
    dropped = 0
    failure = None

    def settle(self) -> None:
        """Nothing has been given to the file."""

    def clear(self) -> None:
        """Nothing was kept."""

    def value(self) -> bytes:
        """Return what was kept."""
        return b""


NOTHING = Nothing()
