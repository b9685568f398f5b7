"""`FleetContext`: what all connections of one fleet share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from sshfan_async.engine.pacing import Pacer
    from sshfan_async.engine.run_log import RunLog
    from sshfan_async.fleet.settings import FleetSettings
    from sshfan_async.fleet.socket_guard import SocketGuard
    from sshfan_async.loop.timers import Timers
    from sshfan_async.mux.spare import Spares
    from sshfan_async.process.client import Client
    from sshfan_async.process.log_pipe import LogPipes
    from sshfan_async.process.readers import Readers
    from sshfan_async.stdio.capture import Store

__all__ = ["FleetContext"]


@dataclass(slots=True, kw_only=True)
class FleetContext:
    """Built by the pool when it opens, and closed with it."""

    settings: FleetSettings
    executable: str
    client: Client
    common_argv: tuple[str, ...]
    environment: Mapping[bytes, bytes]
    socket_guard: SocketGuard
    spares: Spares
    log_pipes: LogPipes
    readers: Readers
    timers: Timers
    store: Store
    pacer: Pacer
    slots: asyncio.Semaphore
    """Limits how many hosts are being connected to at once."""
    run_log: RunLog
    most: int
    """The number of connections that the limit on open files allows."""
    connections: int = 0
    """Connections that exist or are being made."""
