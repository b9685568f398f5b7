"""The report of a run: its outcomes in the order of the targets, with look-up, statistics and JSON."""

from __future__ import annotations

import base64
import codecs
import json
import math
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

from sshfan_async.errors import HostsFailed, InvalidSetting
from sshfan_async.outcome import Outcome, Status
from sshfan_async.packed import PackedOutcomes
from sshfan_async.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

__all__ = ["Report", "outcome_json"]

_PIECE = 192 * 1024
"""Bytes of output that are converted at once: a multiple of 3, so that pieces of base64 can be joined."""


@dataclass(frozen=True)
class Report:
    """The outcomes of one run, in the order of its targets."""

    outcomes: Sequence[Outcome]
    """Those of `fan_out` are kept in a compact form: each is made when it is asked for."""
    finished_at: float
    """Seconds since the epoch at the end of the run."""

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __getitem__(self, host: str | Target) -> Outcome:
        """Return the outcome of `host`: a name as given, a `Target`, or a host name that only one target has.

        Raises:
            KeyError: no target has that name, or several have that host.

        """
        position = self._position(host)
        if position is not None:
            return self.outcomes[position]
        same_host = self._by_host.get(host, []) if isinstance(host, str) else []
        if len(same_host) == 1:
            return self.outcomes[same_host[0]]
        if same_host:
            names = ", ".join(self.outcomes[each].host for each in same_host)
            raise KeyError(f"{host!r} is the host of several targets: ask for one of {names}")
        raise KeyError(f"{host!r} is not among the {len(self.outcomes)} targets of this run")

    def __contains__(self, host: object) -> bool:
        """Whether `report[host]` finds an outcome, or `host` is itself an outcome of this report."""
        if isinstance(host, Outcome):
            position = self._position(host.target)
            return position is not None and self.outcomes[position] == host
        if not isinstance(host, (str, Target)):
            return False
        try:
            self[host]
        except KeyError:
            return False
        return True

    def _position(self, name: str | Target) -> int | None:
        if isinstance(name, Target):
            return self._by_text.get(str(name))
        position = self._by_name.get(name)
        return self._by_text.get(name) if position is None else position

    # Positions by text: a dict of outcomes or targets would keep them all in memory.

    @cached_property
    def _by_text(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for position, (text, _) in enumerate(self._names()):
            found.setdefault(text, position)
        return found

    @cached_property
    def _by_name(self) -> dict[str, int]:
        """The names as given, without those that are the text of their target."""
        found: dict[str, int] = {}
        for position, (text, name) in enumerate(self._names()):
            if name != text:
                found.setdefault(name, position)
        return found

    @cached_property
    def _by_host(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for position, outcome in enumerate(self.outcomes):
            found.setdefault(outcome.target.host, []).append(position)
        return found

    def _names(self) -> Iterable[tuple[str, str]]:
        """Return the text of each target, and its name as given."""
        if isinstance(self.outcomes, PackedOutcomes):
            targets = self.outcomes.targets
            return zip(targets.texts, targets.values(), strict=True)
        return ((str(outcome.target), outcome.host) for outcome in self.outcomes)

    def _statuses(self) -> list[Status]:
        if isinstance(self.outcomes, PackedOutcomes):
            return self.outcomes.statuses()
        return [outcome.status for outcome in self.outcomes]

    @property
    def ok(self) -> bool:
        """Whether every host ended `ok`."""
        return self._statuses().count(Status.OK) == len(self.outcomes)

    @property
    def not_ok(self) -> tuple[Outcome, ...]:
        """The outcomes that are not `ok`, in the order of the targets."""
        return tuple(
            self.outcomes[position] for position, status in enumerate(self._statuses()) if status is not Status.OK
        )

    @property
    def by_status(self) -> Mapping[Status, tuple[Outcome, ...]]:
        """The outcomes by status, without statuses that do not occur, in the order of `Status`."""
        return {status: tuple(self.outcomes[each] for each in found) for status, found in self._by_status().items()}

    def _by_status(self) -> dict[Status, list[int]]:
        """The positions of the outcomes with each status that occurs."""
        found: dict[Status, list[int]] = {status: [] for status in Status}
        for position, status in enumerate(self._statuses()):
            found[status].append(position)
        return {status: positions for status, positions in found.items() if positions}

    def slowest(self, n: int = 5) -> tuple[Outcome, ...]:
        """Return the `n` outcomes with the longest `elapsed`, slowest first; targets never started do not count."""
        started = [outcome for outcome in self.outcomes if outcome.started_at is not None]
        return tuple(sorted(started, key=lambda outcome: -outcome.elapsed)[:n])

    def percentile(self, q: float) -> float:
        """Return the `q`-th percentile of `elapsed` of the started targets, in seconds (nearest rank).

        NaN if no target was started.

        Raises:
            InvalidSetting: `q` is not between 0 and 100.

        """
        if not 0 <= q <= 100:
            raise InvalidSetting(f"percentile {q!r}: give a number from 0 to 100")
        times = sorted(outcome.elapsed for outcome in self.outcomes if outcome.started_at is not None)
        if not times:
            return math.nan
        return times[max(0, math.ceil(q / 100 * len(times)) - 1)]

    @property
    def exit_code(self) -> int:
        """An exit code for the whole run.

        0: every host is `ok`. 3: to at least one host the command was never sent. 1: otherwise, so a command failed,
        timed out or was lost. A host that was not started because the caller stopped the run does not count.
        """
        counted = [each for each in self.not_ok if each.status is not Status.NOT_RUN or each.clock is not None]
        if not counted:
            return 0
        return 3 if any(not outcome.sent for outcome in counted) else 1

    def raise_for_failures(self) -> None:
        """Raise `HostsFailed` unless every host ended `ok`.

        Raises:
            HostsFailed: the message has the number of failed hosts, and the first three with their reasons.

        """
        failed = self.not_ok
        if failed:
            shown = "; ".join(f"{outcome.host}: {outcome.reason}" for outcome in failed[:3])
            more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
            raise HostsFailed(f"{len(failed)} of {len(self.outcomes)} hosts failed: {shown}{more}")

    def to_json(self) -> str:
        """Return the whole report as one JSON object: `finished_at`, `exit_code`, `counts` and `outcomes`."""
        return "".join(self._json_pieces())

    def _json_pieces(self) -> Iterator[str]:
        yield _unclosed(
            {
                "finished_at": self.finished_at,
                "exit_code": self.exit_code,
                "counts": {status.value: len(found) for status, found in self._by_status().items()},
            }
        )
        separator = ', "outcomes": ['
        for outcome in self.outcomes:
            yield separator
            yield from outcome_json(outcome)
            separator = ", "
        yield "]}" if self.outcomes else f"{separator}]}}"


def outcome_json(outcome: Outcome, **first: object) -> Iterator[str]:
    """Yield `outcome` as a JSON object in small pieces, so large output need not fit into memory.

    The fields `first` come first. Output that is UTF-8 is in `stdout` and `stderr`; any other output is in
    `stdout_base64` and `stderr_base64`.
    """
    yield _unclosed(
        {
            **first,
            "host": outcome.host,
            "target": str(outcome.target),
            "status": outcome.status.value,
            "ok": outcome.ok,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
            "sent": outcome.sent,
            "attempts": outcome.attempts,
            "clock": outcome.clock,
            "phase": outcome.phase.value,
            "phases": {phase.value: seconds for phase, seconds in outcome.phases},
            "started_at": outcome.started_at,
            "elapsed": outcome.elapsed,
            "remote": outcome.remote,
            "reason": outcome.reason,
        }
    )
    yield from _output("stdout", outcome.open_stdout)
    yield f', "stdout_dropped": {outcome.stdout_dropped}'
    yield from _output("stderr", outcome.open_stderr)
    yield f', "stderr_dropped": {outcome.stderr_dropped}}}'


def _unclosed(fields: dict[str, object]) -> str:
    return json.dumps(fields)[:-1]


def _output(name: str, open_output: Callable[[], BinaryIO]) -> Iterator[str]:
    """Yield one output as a JSON key and its value. Output that is large is read twice."""
    if _is_text(open_output):
        yield f', "{name}": "'
        for text in _decoded(open_output):
            yield encode_basestring_ascii(text)[1:-1]
    else:
        yield f', "{name}_base64": "'
        for data in _pieces(open_output):
            yield base64.b64encode(data).decode("ascii")
    yield '"'


def _is_text(open_output: Callable[[], BinaryIO]) -> bool:
    try:
        for _ in _decoded(open_output):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _decoded(open_output: Callable[[], BinaryIO]) -> Iterator[str]:
    """Yield output as text; a character is never cut.

    Raises:
        UnicodeDecodeError: the output is not UTF-8.

    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    for data in _pieces(open_output):
        yield decoder.decode(data)
    decoder.decode(b"", final=True)


def _pieces(open_output: Callable[[], BinaryIO]) -> Iterator[bytes]:
    with open_output() as stream:
        while data := stream.read(_PIECE):
            yield data
