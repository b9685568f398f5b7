"""A host's output → `host: line`, byte for byte in a pipe, harmless on a terminal."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from sshfan_async.cli.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = ["for_pipe", "for_terminal"]

_CHUNK = 256 * 1024


def for_pipe(output: BinaryIO, host: str) -> Iterator[bytes]:
    """Yield `output` with `host: ` before each line; the last line gets its newline where it lacks one."""
    prefix = f"{host}: ".encode()
    between = prefix
    while chunk := output.read(_CHUNK):
        ends = chunk.endswith(b"\n")
        body = chunk[:-1] if ends else chunk
        yield between + body.replace(b"\n", b"\n" + prefix)
        between = b"\n" + prefix if ends else b""
    if between != prefix:
        yield b"\n"


def for_terminal(output: BinaryIO, host: str) -> Iterator[bytes]:
    r"""Yield the same for a person: controls, and bytes that are no text, are spelled out (`\x1b[2J`)."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for chunk in for_pipe(output, host):
        yield visible(decoder.decode(chunk).replace("\r\n", "\n")).encode()
