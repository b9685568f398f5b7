"""The exceptions of this package.

    SshfanError
    ├── InvalidTarget (also ValueError)     a name, user, port or node set that cannot be used
    ├── InvalidSetting (also ValueError)    another argument, such as a timeout or an ssh option, that cannot be used
    ├── HostsFailed                         raised by `Report.raise_for_failures()` only
    └── FleetUnavailable                    a `Fleet`, or the sshd of `sshfan_async.testing`, cannot be started

A host that fails raises no exception: its `Outcome` says what happened.
"""

from __future__ import annotations


class SshfanError(Exception):
    """The base class of all exceptions of this package."""


class InvalidTarget(SshfanError, ValueError):
    """A host name, user, port or node set cannot be used. The message contains it."""


class InvalidSetting(SshfanError, ValueError):
    """A setting cannot be used. The message names the setting."""


class HostsFailed(SshfanError):
    """At least one host did not end `ok`. Raised by `Report.raise_for_failures()`."""


class FleetUnavailable(SshfanError):
    """A `Fleet`, or the private sshd of `sshfan_async.testing`, cannot be started. The message says what to do."""
