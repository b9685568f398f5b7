"""Run a command on many hosts at once through the OpenSSH client, and know the truth about every one of them.

Public is what this module exports, and `sshfan_async.testing`. All other modules are private.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sshfan_async.api import events, fan_out, stream
from sshfan_async.errors import FleetUnavailable, HostsFailed, InvalidSetting, InvalidTarget, SshfanError
from sshfan_async.event import Event, HostFinished, HostOutput, HostPhase, HostStarted
from sshfan_async.nodesets import nodes
from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.report import Report
from sshfan_async.settings import Ssh
from sshfan_async.targets import Target

if TYPE_CHECKING:
    from sshfan_async.fleet.front import Fleet
    from sshfan_async.fleet.sync import SyncFleet
    from sshfan_async.legacy import STATUS_FAIL, STATUS_SUCC, run

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


_WHEN_ASKED_FOR = {
    "Fleet": "sshfan_async.fleet.front",
    "SyncFleet": "sshfan_async.fleet.sync",
    "STATUS_FAIL": "sshfan_async.legacy",
    "STATUS_SUCC": "sshfan_async.legacy",
    "run": "sshfan_async.legacy",
}
"""Names whose module is imported on first use: most programs need one of the doors only."""


def __getattr__(name: str) -> object:
    """Import the module of a name on its first use (PEP 562)."""
    module = _WHEN_ASKED_FOR.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the names not imported yet too, for `dir` and completion at a prompt."""
    return sorted({*globals(), *__all__})
