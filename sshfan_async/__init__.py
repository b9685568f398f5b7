"""Run a command on many hosts at once through the OpenSSH client, and know the truth about every one of them.

Public is what this module exports, and `sshfan_async.testing`. All other modules are private.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sshfan_async.api import events, fan_out, stream
    from sshfan_async.errors import FleetUnavailable, HostsFailed, InvalidSetting, InvalidTarget, SshfanError
    from sshfan_async.event import Event, HostFinished, HostOutput, HostPhase, HostStarted
    from sshfan_async.fleet.front import Fleet
    from sshfan_async.fleet.sync import SyncFleet
    from sshfan_async.legacy import STATUS_FAIL, STATUS_SUCC, run
    from sshfan_async.nodesets import nodes
    from sshfan_async.outcome import Outcome, Phase, Phases, Status
    from sshfan_async.report import Report
    from sshfan_async.settings import Ssh
    from sshfan_async.targets import Target

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

_MODULES = {
    "api": ("events", "fan_out", "stream"),
    "errors": ("FleetUnavailable", "HostsFailed", "InvalidSetting", "InvalidTarget", "SshfanError"),
    "event": ("Event", "HostFinished", "HostOutput", "HostPhase", "HostStarted"),
    "fleet.front": ("Fleet",),
    "fleet.sync": ("SyncFleet",),
    "legacy": ("STATUS_FAIL", "STATUS_SUCC", "run"),
    "nodesets": ("nodes",),
    "outcome": ("Outcome", "Phase", "Phases", "Status"),
    "report": ("Report",),
    "settings": ("Ssh",),
    "targets": ("Target",),
}
"""Each module is imported when one of its names is first used: the pytest plugin must not load the package."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module of `name` (PEP 562)."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the names not imported yet too, for `dir` and completion at a prompt."""
    return sorted({*globals(), *__all__})
