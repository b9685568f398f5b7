"""Keeps the outcomes of a run in a compact form that costs the garbage collector nothing.

A full collection visits every container object of the process: 130 ms with the outcomes of 80,000 hosts. A packed
outcome is one `bytes` object, which it does not visit.
"""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias, overload

from sshfan_async.outcome import Outcome, Phase, Phases, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sshfan_async.outcome import Stored
    from sshfan_async.targets import Target, Targets

__all__ = ["Packed", "PackedOutcomes", "pack"]

Packed: TypeAlias = "bytes | tuple[bytes | Stored, bytes | Stored, bytes]"
"""The fields of an outcome, without its target and name. If the outputs are not among the fields, they come first."""

_SMALL = 4096
"""Bytes of output that are copied to be among the fields."""
_STATUSES = tuple(Status)
_STATUS_CODES = {status: bytes([code]) for code, status in enumerate(_STATUSES)}
_PHASES = {phase.value: phase for phase in Phase}


def pack(outcome: Outcome) -> Packed:
    """Return `outcome` in its compact form, which does not hold its target and name."""
    phases = outcome.phases
    stdout, stderr = outcome.stdout_kept, outcome.stderr_kept
    outputs: tuple[bytes, bytes] | None = None
    if isinstance(stdout, bytes) and isinstance(stderr, bytes) and len(stdout) + len(stderr) <= _SMALL:
        outputs = stdout, stderr
    fields = marshal.dumps(
        (
            outcome.exit_code,
            outcome.signal,
            (
                phases.queued,
                phases.resolve,
                phases.connect,
                phases.handshake,
                phases.auth,
                phases.run,
                phases.close,
            ),
            outcome.started_at,
            outcome.attempts,
            outcome.sent,
            outcome.clock,
            outcome.phase.value,
            outcome.remote,
            outcome.reason,
            outcome.stdout_dropped,
            outcome.stderr_dropped,
            outputs,
        )
    )
    # marshal ignores what follows its data. So the status can be read without the other fields.
    fields += _STATUS_CODES[outcome.status]
    return (stdout, stderr, fields) if outputs is None else fields


class PackedOutcomes(Sequence[Outcome]):
    """The outcomes of a run in the order of its targets. Each is made when it is asked for, and equal each time.

    It compares, shows and pickles as a tuple of outcomes.
    """

    def __init__(self, targets: Targets, packed: tuple[Packed, ...]) -> None:
        """`packed` has the outcome of each of `targets`, in their order."""
        self.targets = targets
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, position: int) -> Outcome: ...
    @overload
    def __getitem__(self, position: slice) -> tuple[Outcome, ...]: ...
    def __getitem__(self, position: int | slice) -> Outcome | tuple[Outcome, ...]:
        if isinstance(position, slice):
            return tuple(self[each] for each in range(*position.indices(len(self))))
        return _unpack(self._packed[position], *self.targets.at(position))

    def __iter__(self) -> Iterator[Outcome]:
        return (_unpack(packed, *of) for packed, of in zip(self._packed, self.targets.items(), strict=True))

    def statuses(self) -> list[Status]:
        """Return the status of each outcome."""
        last = map(itemgetter(-1), self._packed)
        return [_STATUSES[each if isinstance(each, int) else each[-1]] for each in last]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple | PackedOutcomes):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[Callable[..., tuple[Outcome, ...]], tuple[list[Outcome]]]:
        return tuple, (list(self),)


def _unpack(packed: Packed, target: Target, host: str) -> Outcome:
    *kept, fields = (packed,) if isinstance(packed, bytes) else packed
    (
        exit_code,
        signal,
        phases,
        started_at,
        attempts,
        sent,
        clock,
        phase,
        remote,
        reason,
        stdout_dropped,
        stderr_dropped,
        outputs,
    ) = marshal.loads(fields)
    stdout, stderr = kept if outputs is None else outputs
    return Outcome(
        target=target,
        host=host,
        status=_STATUSES[fields[-1]],
        exit_code=exit_code,
        signal=signal,
        phases=Phases(*phases),
        started_at=started_at,
        attempts=attempts,
        sent=sent,
        clock=clock,
        phase=_PHASES[phase],
        remote=remote,
        reason=reason,
        stdout_dropped=stdout_dropped,
        stderr_dropped=stderr_dropped,
        stdout_kept=stdout,
        stderr_kept=stderr,
    )
