"""Run a command on many hosts at once through the OpenSSH client, and know the truth about every one of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# First: what imports this module binds the name `events` to it, and the function of that name must be bound last.
from sshfan_async.events import Event, HostFinished, HostOutput, HostPhase, HostStarted

# isort: split
from sshfan_async.api import events, fan_out, stream
from sshfan_async.errors import FleetUnavailable, HostsFailed, InvalidSetting, InvalidTarget, SshfanError
from sshfan_async.legacy import STATUS_FAIL, STATUS_SUCC, run
from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.report import Report
from sshfan_async.settings import Ssh
from sshfan_async.targets import Target, nodes

if TYPE_CHECKING:
    from sshfan_async.fleet import Fleet, SyncFleet

__version__ = "0.1.0"

__all__ = [
    "STATUS_FAIL",
    "STATUS_SUCC",
    "Event",
    "Fleet",
    "FleetUnavailable",
    "HostFinished",
    "HostOutput",
    "HostPhase",
    "HostStarted",
    "HostsFailed",
    "InvalidSetting",
    "InvalidTarget",
    "Outcome",
    "Phase",
    "Phases",
    "Report",
    "Ssh",
    "SshfanError",
    "Status",
    "SyncFleet",
    "Target",
    "events",
    "fan_out",
    "nodes",
    "run",
    "stream",
]


def __getattr__(name: str) -> object:
    """Load fleets when they are first asked for: with asyncio and anyio, which no other import here needs."""
    if name not in ("Fleet", "SyncFleet"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module("sshfan_async.fleet"), name)
    globals()[name] = found
    return found
