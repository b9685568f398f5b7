"""The SSH connection protocol (RFC 4254) through OpenSSH's control socket: many commands over one master.

The master does keys, cryptography and rekeying in its own process; here are channels, windows and requests.
"""

from __future__ import annotations

from sshfan_async.mux.channel import Channel, Receiver
from sshfan_async.mux.connection import Connection, open_connection
from sshfan_async.mux.wire import MuxError

__all__ = ["Channel", "Connection", "MuxError", "Receiver", "open_connection"]
