"""Run a command on many hosts at once through the OpenSSH client, and know the truth about every one of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# First: what imports this module binds the name `events` to it, and the function of that name must be bound last.
from sshfan_async.events import Event, HostFinished, HostOutput, HostPhase, HostStarted

# isort: split
from sshfan_async.api import events, fan_out, stream
from sshfan_async.errors import FleetUnavailable, HostsFailed, InvalidSetting, InvalidTarget, SshfanError
from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.report import Report
from sshfan_async.settings import Ssh
from sshfan_async.targets import Target, nodes

if TYPE_CHECKING:
    from sshfan_async.fleet import Fleet, SyncFleet
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
    "Fleet": "sshfan_async.fleet",
    "SyncFleet": "sshfan_async.fleet",
    "STATUS_FAIL": "sshfan_async.legacy",
    "STATUS_SUCC": "sshfan_async.legacy",
    "run": "sshfan_async.legacy",
}
"""The names that are loaded when somebody first asks for one: not everybody needs all three front doors."""


def __getattr__(name: str) -> object:
    """Load what is loaded late (PEP 562)."""
    module = _WHEN_ASKED_FOR.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List also what is loaded late, as `dir` and the completion of a prompt ask for."""
    return sorted({*globals(), *__all__})
