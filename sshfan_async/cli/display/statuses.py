"""The names and colours in which statuses are shown."""

from __future__ import annotations

from sshfan_async.outcome import Status

__all__ = ["STYLES", "status_name"]

STYLES = {
    Status.OK: "green",
    Status.FAILED: "red",
    Status.SIGNALLED: "red",
    Status.LOST: "red",
    Status.TIMED_OUT: "yellow",
    Status.UNRESOLVED: "magenta",
    Status.UNREACHABLE: "magenta",
    Status.DROPPED: "magenta",
    Status.HOST_KEY: "magenta",
    Status.AUTH: "magenta",
    Status.CANCELLED: "yellow",
    Status.NOT_RUN: "yellow",
    Status.LOCAL: "red",
}
"""rich styles. Red: the host failed. Yellow: the host was stopped. Magenta: the host was never reached."""


def status_name(status: Status) -> str:
    """Return the name for people, such as `timed out` for `timed_out`."""
    return status.value.replace("_", " ")
