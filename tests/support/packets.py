"""What a connection writes to its control socket, as packets."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from sshfan_async.mux.connection import Connection

__all__ = ["Writes"]


class Writes:
    """Stands for the transport of a connection, and records each write."""

    def __init__(self, connection: Connection) -> None:
        self.each: list[list[int]] = []
        """The message numbers in each write (`sshfan_async.mux.wire.Message`)."""
        self._transport: asyncio.Transport = connection._transport
        connection._transport = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.each.append(_numbers(data))
        self._transport.write(data)


def _numbers(data: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        numbers.append(data[at + 5])
        at += 4 + length
    return numbers
