"""Warm fleets: open connections once, then run many commands over them.

front, sync ──> engine ──> link (a host) ──> master (its ssh child) ──> mux ──> HostCommand (a command on a host)
part: what both front doors share; home: the loop that the engine lives in; plan: the settings, checked
keeper: the sockets' directory, and the end of every master when we are killed
"""

from __future__ import annotations

from sshfan_async.fleet.front import Fleet, Hosts
from sshfan_async.fleet.sync import SyncFleet, SyncHosts

__all__ = ["Fleet", "Hosts", "SyncFleet", "SyncHosts"]
