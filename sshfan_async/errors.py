"""The exceptions of this package, one tree with one root.

    SshfanError
    ├── InvalidTarget (also ValueError)     a name, user, port or node set that cannot be used
    ├── InvalidSetting (also ValueError)    a clock, limit or ssh option that cannot be used
    ├── HostsFailed                         raised on request only: `Report.raise_for_failures()`
    └── FleetUnavailable                    a `Fleet`, or the sshd of `sshfan_async.testing`, cannot start

What happens to a host is never an exception: it is that host's `Outcome`.
"""

from __future__ import annotations


class SshfanError(Exception):
    """The root: `except SshfanError` catches whatever this package raises on its own account."""


class InvalidTarget(SshfanError, ValueError):
    """A target's name, user or port, or a node set, cannot be used; the message names it."""


class InvalidSetting(SshfanError, ValueError):
    """A setting cannot be used; the message names the setting and its value."""


class HostsFailed(SshfanError):
    """Raised by `Report.raise_for_failures()` when not every host ended `ok`."""


class FleetUnavailable(SshfanError):
    """A `Fleet`, or the private sshd of `sshfan_async.testing`, cannot be started; the message says what to mend."""
