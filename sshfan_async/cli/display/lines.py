"""Turn chunks of a host's output into whole lines `host: line`."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, NamedTuple

from sshfan_async.escape import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Lines", "LineStyle", "escape_controls"]

_LONGEST = 16 * 1024 * 1024
"""Bytes after which a line is broken, so that an endless line does not fill our memory."""
_LONGEST_ESCAPED = 1024 * 1024
"""The same on a terminal: a byte becomes four characters if it must be escaped."""
_PIECE = 256 * 1024
"""Bytes that are escaped at once."""


class LineStyle(NamedTuple):
    """How the lines on one descriptor look: the bytes before and after the host's name, and after the line."""

    before: bytes = b""
    after_name: bytes = b": "
    after_line: bytes = b""
    escapes: bool = False
    """Whether control characters, and bytes that are not UTF-8, are shown as `\\x1b`: for terminals."""
    prefixed: bool = True

    def start(self, host: str) -> bytes:
        """Return the bytes in front of each line of `host`."""
        return self.before + host.encode() + self.after_name if self.prefixed else self.before


class Lines:
    """Collects one stream of one host into whole lines, so that lines of two hosts never mix."""

    __slots__ = ("_filter", "_longest", "_partial", "_separator", "_start")

    def __init__(self, host: str, style: LineStyle) -> None:
        self._start = style.start(host)
        self._separator = style.after_line + b"\n"
        self._filter: Callable[[bytes], bytes] | None = escape_controls if style.escapes else None
        self._longest = _LONGEST_ESCAPED if style.escapes else _LONGEST
        self._partial = bytearray()

    @property
    def unfinished(self) -> int:
        """The bytes of a line whose end has not arrived."""
        return len(self._partial)

    def feed(self, data: bytes) -> bytes:
        """Add a chunk and return the lines that it completes."""
        end = data.rfind(b"\n") + 1
        if end == 0:
            self._partial += data
            return self.end() if len(self._partial) > self._longest else b""
        lines = b"".join((self._partial, data[: end - 1])) if self._partial else data[: end - 1]
        self._partial = bytearray(data[end:])
        return self._styled(lines)

    def end(self) -> bytes:
        """Return the last line if it has no newline yet."""
        if not self._partial:
            return b""
        lines, self._partial = bytes(self._partial), bytearray()
        return self._styled(lines)

    def _styled(self, lines: bytes) -> bytes:
        if self._filter is not None:
            lines = self._filter(lines + b"\n")[:-1]
        if not self._start and self._separator == b"\n":
            return lines + b"\n"
        return self._start + lines.replace(b"\n", self._separator + self._start) + self._separator


def escape_controls(lines: bytes) -> bytes:
    r"""Show control characters, and bytes that are not UTF-8, as text (`\x1b[2J`). `lines` is whole lines."""
    return b"".join(_escaped(lines))


def _escaped(lines: bytes) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    start = 0
    while start < len(lines):
        end = start + _PIECE
        if lines[end - 1 : end + 1] == b"\r\n":
            end += 1
        text = decoder.decode(lines[start:end], final=end >= len(lines))
        yield visible(text.replace("\r\n", "\n")).encode()
        start = end
