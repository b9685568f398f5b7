"""Send the standard input of one command of a fleet, as far as its channel takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.stdio.source import Source

__all__ = ["Feed"]

_CHUNK = 256 * 1024


class Feed:
    """A position in a source."""

    __slots__ = ("_at", "_source", "failure", "is_cut")

    def __init__(self, source: Source) -> None:
        self.is_cut = False
        """Whether the source ended, or failed, before its size was reached."""
        self.failure: OSError | None = None
        """Why the source failed."""
        self._source = source
        self._at = 0

    @property
    def has_more(self) -> bool:
        """Whether not all of the source was sent."""
        return self._at < self._source.size

    def send(self, write: Callable[[bytes | memoryview], int]) -> bool:
        """Pass data to `write`, which returns how many bytes it takes, until it takes none.

        Return whether nothing is left to send.
        """
        while self.has_more and not self.is_cut:
            data = self._read()
            if not data:
                self.is_cut = True
            elif (count := write(data)) > 0:
                self._at += count
            else:
                return False
        return True

    def _read(self) -> bytes | memoryview:
        try:
            return self._source.read_at(self._at, _CHUNK)
        except OSError as error:
            self.failure = error.with_traceback(None)
            return b""
