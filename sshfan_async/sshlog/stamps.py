"""When each thing was logged, and the phases' seconds that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from sshfan_async.outcome import Phase, Phases

__all__ = ["Stamps", "phases"]


@dataclass(frozen=True, slots=True)
class Stamps:
    """Monotonic seconds at which ssh logged each step; None for what it did not log."""

    connecting: float | None = None
    """The lookup is done: ssh dials the host, or starts its proxy."""
    connected: float | None = None
    """The connection stands; behind a proxy: the server's version line came."""
    keyed: float | None = None
    """The first key exchange is done."""
    authenticated: float | None = None
    sent: float | None = None
    """The command left; over a ControlMaster: the master opened the session."""
    accepted: float | None = None
    """The server took the command (not logged at DEBUG1)."""
    remote_end: float | None = None
    """The remote command's exit status or signal arrived."""
    silent: bool = False
    """Nothing shows when the command left, and it counts as sent at its launch: the program is not known to be
    OpenSSH and wrote no log; or, once it has ended, the log allows no stronger claim (`Verdict.sent`)."""

    @property
    def phase(self) -> Phase:
        """The phase that began with the last of these stamps."""
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
    """Split the time from `launched` to `ended` (monotonic seconds) into phases; `queued` is passed on.

    The parts sum up to the whole. A step that was not logged leaves its phase None and its time to the next
    phase that has an end; the phase it all ended in gets the rest. Over a ControlMaster nothing is connected:
    ssh's own start, from launch to sent, is `resolve`. Without any log all is `run`.
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
