"""Run a command on many hosts at once through the OpenSSH client, with exactly one outcome for each host.

The public names are those that this module and `sshfan_async.testing` export. All other modules are private.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # importing typing takes 5 ms, in which a Ctrl-C prints a traceback
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
"""Imported on first use, so that the pytest plugin does not load the rest of the package."""
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
    """List all public names, also those not imported yet, for `dir` and tab completion."""
    return sorted({*globals(), *__all__})
