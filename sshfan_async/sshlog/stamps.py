"""The times at which ssh logged each step, and the phases that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from sshfan_async.outcome import Phase, Phases

__all__ = ["Stamps", "phases"]


@dataclass(frozen=True, slots=True)
class Stamps:
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
        began = Phase.RESOLVE
        for phase, stamp in self._ends():
            if stamp is not None:
                began = _NEXT[phase]
        return began

    def _ends(self) -> tuple[tuple[Phase, float | None], ...]:
        return (
            (Phase.RESOLVE, self.connecting),
            (Phase.CONNECT, self.connected),
            (Phase.HANDSHAKE, self.keyed),
            (Phase.AUTH, self.sent),
            (Phase.RUN, self.remote_end),
        )


_NEXT = {
    Phase.RESOLVE: Phase.CONNECT,
    Phase.CONNECT: Phase.HANDSHAKE,
    Phase.HANDSHAKE: Phase.AUTH,
    Phase.AUTH: Phase.RUN,
    Phase.RUN: Phase.CLOSE,
}


def phases(stamps: Stamps, launched: float, ended: float, queued: float) -> Phases:
    """Split the time from `launched` to `ended` (monotonic seconds) into phases; add `queued` (seconds).

    The phases add up to the whole time. If a step was not logged, its phase is None, and the next phase with an end
    includes its time. The last phase gets the remaining time. Over a ControlMaster, the time from launch to sent is
    `resolve`. Without a log, all of it is `run`.
    """
    if stamps.silent:
        return Phases(queued=queued, run=max(ended - launched, 0.0))
    seconds: dict[str, float] = {}
    at = launched
    over_master = stamps.connecting is None and stamps.connected is None and stamps.keyed is None
    for phase, stamp in stamps._ends():
        if stamp is not None:
            stamp = min(max(stamp, at), max(ended, launched))
            name = Phase.RESOLVE if over_master and phase is Phase.AUTH else phase
            seconds[name.value] = stamp - at
            at = stamp
    seconds[stamps.phase.value] = max(ended - at, 0.0)
    return Phases(queued=queued, **seconds)
