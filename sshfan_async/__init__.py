"""Run a command on many hosts at once through the OpenSSH client, and know the truth about every one of them."""

from sshfan_async.api import events, fan_out, stream
from sshfan_async.errors import FleetUnavailable, HostsFailed, InvalidSetting, InvalidTarget, SshfanError
from sshfan_async.events import Event, HostFinished, HostOutput, HostPhase, HostStarted
from sshfan_async.fleet import Fleet, SyncFleet
from sshfan_async.legacy import STATUS_FAIL, STATUS_SUCC, run
from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.report import Report
from sshfan_async.settings import Ssh
from sshfan_async.targets import Target, nodes

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
