"""A host's output in the chunks in which it comes → whole lines `host: line`, with work by the chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshfan_async.escape import visible

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Lines", "LineStyle", "neutral"]

_LONGEST = 16 * 1024 * 1024
"""Bytes of one line after which it is broken: a host that never ends its line must not fill our memory."""


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How the lines of one descriptor look: what comes before the host's name, after it, and after the line."""

    before: bytes = b""
    after_name: bytes = b": "
    after_line: bytes = b""
    neutralised: bool = False
    """Whether controls, and bytes that are no text, are spelled out: for terminals."""
    named: bool = True

    def start(self, host: str) -> bytes:
        """Return what stands before each line of `host`."""
        return self.before + host.encode() + self.after_name if self.named else self.before


class Lines:
    """One output of one host on its way to the reader. Lines are whole, so that those of two hosts never mix."""

    __slots__ = ("_filter", "_rest", "_rest_size", "_separator", "_start")

    def __init__(self, host: str, style: LineStyle) -> None:
        self._start = style.start(host)
        self._separator = style.after_line + b"\n"
        self._filter: Callable[[bytes], bytes] | None = neutral if style.neutralised else None
        self._rest: list[bytes] = []
        self._rest_size = 0

    def feed(self, data: bytes) -> bytes:
        """Take in a chunk and return the lines that it completes."""
        end = data.rfind(b"\n") + 1
        if end == 0:
            self._keep(data)
            return self.end() if self._rest_size > _LONGEST else b""
        whole = b"".join((*self._rest, data[: end - 1])) if self._rest else data[: end - 1]
        self._rest, self._rest_size = [], 0
        if end < len(data):
            self._keep(data[end:])
        return self._shown(whole)

    def end(self) -> bytes:
        """Return the last line, where it lacks its newline."""
        if self._rest_size == 0:
            return b""
        whole = b"".join(self._rest)
        self._rest, self._rest_size = [], 0
        return self._shown(whole)

    def _keep(self, data: bytes) -> None:
        self._rest.append(data)
        self._rest_size += len(data)

    def _shown(self, whole: bytes) -> bytes:
        if self._filter is not None:
            whole = self._filter(whole + b"\n")[:-1]
        if not self._start and self._separator == b"\n":
            return whole + b"\n"
        return self._start + whole.replace(b"\n", self._separator + self._start) + self._separator


def neutral(whole: bytes) -> bytes:
    r"""Return whole lines for a person: controls, and bytes that are no text, are spelled out (`\x1b[2J`)."""
    return visible(whole.decode("utf-8", "backslashreplace").replace("\r\n", "\n")).encode()
