from __future__ import annotations

import gc
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async import Outcome, Phase, Phases, Report, Status, Target
from sshfan_async.packed import PackedOutcomes, pack
from sshfan_async.stdio.capture import Store
from sshfan_async.targets import check_hosts, distinct, finish

seconds = st.none() | st.floats(0, 1e6)
outputs = st.binary(max_size=50) | st.integers(4000, 5000).map(bytes)
fields = st.fixed_dictionaries(
    {
        "status": st.sampled_from(Status),
        "exit_code": st.none() | st.integers(0, 255),
        "signal": st.sampled_from([None, "KILL"]),
        "phases": st.builds(Phases, *[seconds] * 7),
        "started_at": seconds,
        "attempts": st.integers(0, 5),
        "sent": st.booleans(),
        "clock": st.sampled_from([None, "connect_timeout", "timeout", "deadline"]),
        "phase": st.sampled_from(Phase),
        "remote": st.sampled_from(["ended", "left", "unknown"]),
        "reason": st.text(),
        "stdout_dropped": st.integers(0, 2**60),
        "stderr_dropped": st.integers(0, 2**60),
        "stdout_kept": outputs,
        "stderr_kept": outputs,
    }
)


def outcomes(*given_fields: dict[str, Any]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(target=Target(f"web{number}", "ops", 22), host=f" ops@[web{number}]:22", **each)
        for number, each in enumerate(given_fields)
    )


def packed(made: tuple[Outcome, ...]) -> PackedOutcomes:
    names = finish(distinct(finish(check_hosts([outcome.target for outcome in made]))))
    names.names.update({str(outcome.target): outcome.host for outcome in made})
    return PackedOutcomes(names, tuple(pack(outcome) for outcome in made))


@given(st.lists(fields, max_size=4))
def test_outcomes_are_made_again_as_they_were(given_fields: list[dict[str, Any]]) -> None:
    made = outcomes(*given_fields)
    again = packed(made)
    assert tuple(again) == made
    assert [again[position] for position in range(len(made))] == list(made)
    assert again.statuses() == [outcome.status for outcome in made]


def test_it_is_used_as_a_tuple() -> None:
    made = outcomes(*[{"status": status} for status in (Status.OK, Status.FAILED, Status.LOST)])
    again = packed(made)
    assert again == made
    assert made == again
    assert again != made[:2]
    assert again != list(made)
    assert hash(again) == hash(made)
    assert repr(again) == repr(made)
    assert again[-1] == made[-1]
    assert again[1:] == made[1:]
    assert made[2] in again
    with pytest.raises(IndexError):
        again[3]


def test_report_pickles_as_one_with_a_tuple() -> None:
    made = outcomes({"status": Status.OK, "stdout_kept": b"x" * 10_000}, {"status": Status.LOST})
    report = Report(packed(made), finished_at=1.7e9)
    copy = pickle.loads(pickle.dumps(report))
    assert copy == report == Report(made, finished_at=1.7e9)
    assert isinstance(copy.outcomes, tuple)


def test_report_on_packed_outcomes_answers_as_one_on_a_tuple() -> None:
    made = outcomes(*[{"status": status, "sent": status is not Status.DROPPED} for status in Status])
    one, other = Report(packed(made), finished_at=1.7e9), Report(made, finished_at=1.7e9)
    assert one.ok is other.ok is False
    assert one.not_ok == other.not_ok
    assert one.by_status == other.by_status
    assert one.exit_code == other.exit_code == 3
    assert one.to_json() == other.to_json()
    for outcome in made:
        for name in (outcome.host, outcome.target, str(outcome.target), outcome.target.host):
            assert one[name] == other[name] == outcome
        assert outcome in one


def test_large_output_is_not_copied() -> None:
    store = Store(0)
    capture = store.capture(None)
    capture.write(b"in the file")
    spilled, large = capture.value(), b"x" * 10_000
    store.close()
    (again,) = packed(outcomes({"status": Status.OK, "stdout_kept": spilled, "stderr_kept": large}))
    assert again.stdout_kept is spilled
    assert again.stderr_kept is large


def test_garbage_collector_does_not_visit_a_packed_outcome() -> None:
    (made,) = outcomes({"status": Status.FAILED, "phases": Phases(1.5, run=2.5), "stdout_kept": b"hello\n"})
    assert not gc.is_tracked(pack(made))
