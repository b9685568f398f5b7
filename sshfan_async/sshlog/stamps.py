"""The times at which ssh logged each step, and the phases that follow from them."""

from __future__ import annotations

from typing import NamedTuple

from sshfan_async.outcome import Phase, Phases

__all__ = ["Stamps", "phases"]


class Stamps(NamedTuple):
    """Monotonic seconds at which ssh logged each step; None for a step that it did not log."""

    connecting: float | None = None
    """The name is resolved, and ssh connects to the host or starts its proxy."""
    connected: float | None = None
    """The connection is established. Through a proxy: the server's version line arrived."""
    keyed: float | None = None
    """The first key exchange is done."""
    authenticated: float | None = None
    sent: float | None = None
    """ssh sent the command. Over a ControlMaster: the master opened the session."""
    accepted: float | None = None
    """The server accepted the command (not logged at DEBUG1)."""
    remote_end: float | None = None
    """The exit status or signal of the remote command arrived."""
    silent: bool = False
    """Whether the log does not show when the command was sent, so that it counts as sent at the launch. This is so if
    the program is not known to be OpenSSH and writes no log, or if it has ended and its command may have been sent
    (`Verdict.sent`)."""

    @property
    def phase(self) -> Phase:
        """The phase that began with the last step."""
        if self.silent:
            return Phase.RUN
        began = 0
        for number, stamp in enumerate(self._ends(), start=1):
            if stamp is not None:
                began = number
        return _PHASES[began]

    def _ends(self) -> tuple[float | None, float | None, float | None, float | None, float | None]:
        """Return the end of each phase but the last, in order."""
        return self.connecting, self.connected, self.keyed, self.sent, self.remote_end


_PHASES = (Phase.RESOLVE, Phase.CONNECT, Phase.HANDSHAKE, Phase.AUTH, Phase.RUN, Phase.CLOSE)


def phases(stamps: Stamps, launched: float, ended: float, queued: float) -> Phases:
    """Split the time from `launched` to `ended` (monotonic seconds) into phases; add `queued` (seconds).

    The phases add up to the whole time. If a step was not logged, its phase is None, and the next phase with an end
    includes its time. The last phase gets the remaining time. Over a ControlMaster, the time from launch to sent is
    `resolve`. Without a log, all of it is `run`.
    """
    if stamps.silent:
        return Phases(queued=queued, run=max(ended - launched, 0.0))
    seconds: list[float | None] = [None] * len(_PHASES)
    at, last = launched, 0
    over_master = stamps.connecting is None and stamps.connected is None and stamps.keyed is None
    for number, stamp in enumerate(stamps._ends()):
        if stamp is not None:
            stamp = min(max(stamp, at), max(ended, launched))
            seconds[0 if over_master and _PHASES[number] is Phase.AUTH else number] = stamp - at
            at, last = stamp, number + 1
    seconds[last] = max(ended - at, 0.0)
    return Phases(queued, *seconds)
