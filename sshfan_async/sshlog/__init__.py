"""What ssh's own log says: lines in; phase stamps, the cause of an ending and `sent` out. Pure: no I/O, no clock.

    feed(bytes) ── lines ──> `SshLog` ── facts ──> `Ending` (status, sent, exit code, reason)
                                 └── `Stamps` ──> `phases()`

Read in OpenSSH's source, 8.0 to 10.5. Where host or command text could have written a line, the weaker claim wins:
`lost` rather than `failed`, "sent" rather than "not sent".
"""

from __future__ import annotations

from sshfan_async.sshlog.ending import Ending, strip_diagnostics
from sshfan_async.sshlog.lines import Style
from sshfan_async.sshlog.log import SshLog
from sshfan_async.sshlog.stamps import Stamps, phases

__all__ = ["Ending", "SshLog", "Stamps", "Style", "phases", "strip_diagnostics"]
