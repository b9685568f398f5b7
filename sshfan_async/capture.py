"""What a child writes, kept: one `Capture` for each of its two outputs."""

from __future__ import annotations

__all__ = ["Capture"]


class Capture:
    """The bytes of one output of one child, at most `limit` of them; what is beyond is counted and thrown away."""

    __slots__ = ("_chunks", "_limit", "dropped", "kept")

    def __init__(self, limit: int | None) -> None:
        self._chunks: list[bytes] | None = None
        self._limit = limit
        self.kept = 0
        self.dropped = 0

    def write(self, data: bytes) -> None:
        """Keep `data`, as far as the limit allows."""
        if self._limit is not None and self.kept + len(data) > self._limit:
            room = self._limit - self.kept
            self.dropped += len(data) - room
            data = data[:room]
        if data != b"":
            if self._chunks is None:
                self._chunks = []
            self._chunks.append(data)
            self.kept += len(data)

    def clear(self) -> None:
        """Forget what was kept: it was not the command's."""
        self._chunks = None
        self.kept = 0
        self.dropped = 0

    def value(self) -> bytes:
        """Return what was kept."""
        return b"" if self._chunks is None else b"".join(self._chunks)
