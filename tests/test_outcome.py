from __future__ import annotations

import dataclasses
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import Outcome, Phase, Phases, Status, Target
from sshfan_async.stdio.capture import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.stdio.spilled import Spilled


def outcome(**fields: Any) -> Outcome:
    return Outcome(target=Target("web1"), host="web1", **{"status": Status.OK, **fields})


def spilled(data: bytes) -> bytes | Spilled:
    store = Store(0)
    capture = store.capture(None)
    capture.write(data)
    kept = capture.value()
    store.close()
    return kept


def test_phases_are_those_that_happened_in_their_order() -> None:
    assert list(Phases()) == []
    assert list(Phases(run=3.0, queued=1.0, auth=0.0)) == [
        (Phase.QUEUED, 1.0),
        (Phase.AUTH, 0.0),
        (Phase.RUN, 3.0),
    ]
    assert [phase for phase, _ in Phases(*[1.0] * 7)] == list(Phase)


def test_elapsed_is_the_time_since_the_launch() -> None:
    phases = Phases(queued=10.0, resolve=1.0, run=2.5)
    assert phases.elapsed == 3.5
    assert outcome(phases=phases).elapsed == 3.5
    assert outcome().elapsed == 0


@pytest.mark.parametrize("status", Status)
def test_only_exit_code_0_is_ok(status: Status) -> None:
    assert outcome(status=status).ok is (status is Status.OK)


@pytest.mark.parametrize("keep", [bytes, spilled], ids=["memory", "file"])
def test_output_reads_the_same_from_memory_and_from_a_file(keep: Callable[[bytes], Any]) -> None:
    made = outcome(stdout_kept=keep(b"out\xff\n"), stderr_kept=keep(b"err\n"))
    assert (made.stdout, made.stderr) == (b"out\xff\n", b"err\n")
    for _ in range(2):  # each stream is new, and begins at the start
        with made.open_stdout() as stdout, made.open_stderr() as stderr:
            assert (stdout.read(3), stdout.read(), stderr.read()) == (b"out", b"\xff\n", b"err\n")


@pytest.mark.parametrize("keep", [bytes, spilled], ids=["memory", "file"])
def test_outcome_pickles_with_its_output(keep: Callable[[bytes], Any]) -> None:
    made = outcome(stdout_kept=keep(b"out\n"))
    copy = pickle.loads(pickle.dumps(made))
    assert copy == made
    assert copy.stdout == b"out\n"


def test_outcome_cannot_be_changed_and_does_not_show_its_output() -> None:
    made = outcome(stdout_kept=b"secret")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.status = Status.FAILED  # type: ignore[misc]
    assert "secret" not in repr(made)
