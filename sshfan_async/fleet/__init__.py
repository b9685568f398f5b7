"""Warm fleets: open connections once, then run many commands over them.

front  ──> engine ──> link (a host) ──> master (its ssh child) ──> mux ──> HostCommand (a command on a host)
plan        keeper: the sockets' directory, and the end of every master when we are killed
"""

from __future__ import annotations

from sshfan_async.fleet.front import Fleet, Hosts, SyncFleet, SyncHosts

__all__ = ["Fleet", "Hosts", "SyncFleet", "SyncHosts"]
