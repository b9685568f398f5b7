"""`Spilled`: a large output, held in chunks in memory and in extents of the spool file."""

from __future__ import annotations

import io
from array import array
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import WriteableBuffer as Buffer

    from sshfan_async.stdio.spool import Spool

__all__ = ["Spilled"]

_PIECE = 1024 * 1024


class Spilled:
    """Output that is large, or partly in the temporary file. It compares and pickles as `bytes`.

    The part in memory stays in chunks: joining them would need the same memory again.
    """

    __slots__ = ("_chunks", "_extents", "_spool", "size")

    def __init__(self, chunks: tuple[bytes, ...], spool: Spool | None, extents: array[int]) -> None:
        self._chunks = chunks
        self._spool = spool
        self._extents = extents
        self.size = sum(map(len, chunks)) + sum(extents[1::2])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Spilled):
            return self.size == other.size and self.read() == other.read()
        return isinstance(other, bytes) and self.size == len(other) and self.read() == other

    def __hash__(self) -> int:
        return hash(self.read())

    def read(self) -> bytes:
        """Return the whole output."""
        return b"".join(self._pieces(max(1, self.size)))

    def open(self) -> BinaryIO:
        """Return a new binary stream that starts at the first byte."""
        return io.BufferedReader(_SpilledReader(self._pieces(_PIECE)))

    def tail(self, count: int) -> bytes:
        """Return the last `count` bytes."""
        last: list[bytes] = []
        for offset, length in reversed(self._extent_pairs()):
            part = min(length, count)
            last.append(self._from_file(offset + length - part, part))
            count -= part
        for chunk in reversed(self._chunks):
            last.append(chunk[max(0, len(chunk) - count) :])
            count -= len(last[-1])
        return b"".join(reversed(last))

    def without_last(self, count: int) -> Spilled:
        """Return the output without its last `count` bytes."""
        chunks, extents = list(self._chunks), self._extent_pairs()
        while count > 0 and extents:
            offset, length = extents.pop()
            if length > count:
                extents.append((offset, length - count))
            count -= min(length, count)
        while count > 0 and chunks:
            chunk = chunks.pop()
            if len(chunk) > count:
                chunks.append(chunk[: len(chunk) - count])
            count -= min(len(chunk), count)
        return Spilled(tuple(chunks), self._spool, array("Q", [number for pair in extents for number in pair]))

    def _extent_pairs(self) -> list[tuple[int, int]]:
        return list(zip(self._extents[::2], self._extents[1::2], strict=True))

    def _from_file(self, offset: int, count: int) -> bytes:
        assert self._spool is not None
        return self._spool.read(offset, count)

    def _pieces(self, longest: int) -> Iterator[bytes]:
        yield from self._chunks
        for offset, length in self._extent_pairs():
            for start in range(0, length, longest):
                yield self._from_file(offset + start, min(longest, length - start))

    def __reduce__(self) -> tuple[Callable[[bytes], bytes], tuple[bytes]]:
        return bytes, (self.read(),)


class _SpilledReader(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._unread = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        target = memoryview(buffer).cast("B")
        while not self._unread:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._unread = memoryview(piece)
        count = min(len(target), len(self._unread))
        target[:count] = self._unread[:count]
        self._unread = self._unread[count:]
        return count
