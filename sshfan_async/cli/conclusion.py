"""`Conclusion`: how a run of the command line ended, and its exit code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sshfan_async.outcome import Status

if TYPE_CHECKING:
    import signal

    from sshfan_async.report import Report

__all__ = ["Conclusion"]


class Conclusion(NamedTuple):
    """The report of a run, with what ended the run early."""

    report: Report
    seconds: float
    stopped_by: signal.Signals | None = None
    rule: str | None = None
    """The option that ended the run early."""
    largest: bool = False
    """Whether the exit code is the largest of the hosts' exit codes (`-S`)."""

    @property
    def ended_by(self) -> str | None:
        """The signal name or the option that ended the run early, or None."""
        return self.rule if self.stopped_by is None else self.stopped_by.name

    @property
    def exit_code(self) -> int:
        """128 + the signal that ended the run, or the exit code of the hosts' outcomes."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        # A host that a rule such as -k stopped, or did not start, has not failed.
        stopped = (Status.CANCELLED, Status.NOT_RUN) if self.rule is not None else ()
        counted = [outcome for outcome in self.report if outcome.status not in stopped or outcome.clock is not None]
        if not self.largest:
            return replace(self.report, outcomes=tuple(counted)).exit_code
        return max((255 if outcome.exit_code is None else outcome.exit_code for outcome in counted), default=0)
