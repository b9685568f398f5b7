from __future__ import annotations

import base64
import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async import HostsFailed, InvalidSetting, Outcome, Phase, Phases, Report, Status, Target
from sshfan_async import report as report_module
from sshfan_async.report import outcome_json

SENT = {Status.OK, Status.FAILED, Status.SIGNALLED, Status.LOST, Status.TIMED_OUT}


def outcome(host: str, status: Status = Status.OK, seconds: float | None = 1.0, **fields: object) -> Outcome:
    target = fields.pop("target", Target.parse(host))
    given = {
        "status": status,
        "sent": status in SENT,
        "phases": Phases(queued=0.5, run=seconds),
        "started_at": None if seconds is None else 1.7e9,
        "reason": "" if status is Status.OK else f"{status} happened",
        **fields,
    }
    return Outcome(target=target, host=host, **given)  # type: ignore[arg-type]


def report(*outcomes: Outcome) -> Report:
    return Report(outcomes, finished_at=1.7e9)


def test_order_is_that_of_the_targets() -> None:
    both = report(outcome("b"), outcome("a"))
    assert [each.host for each in both] == ["b", "a"]
    assert len(both) == 2


@pytest.mark.parametrize("name", ["ops@web1:22", "web1", Target("web1", "ops", 22)])
def test_outcome_is_found_by_name_target_and_bare_host(name: str | Target) -> None:
    assert report(outcome("ops@web1:22"), outcome("web2"))[name].host == "ops@web1:22"


def test_name_as_given_wins_over_a_bare_host() -> None:
    assert report(outcome("ops@web1"), outcome("web1"))["web1"].host == "web1"


def test_bare_host_of_several_targets_is_refused() -> None:
    with pytest.raises(KeyError, match=r"several targets: ask for one of a@web1, b@web1"):
        report(outcome("a@web1"), outcome("b@web1"))["web1"]


def test_unknown_host_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="'web9' is not among the 1 targets"):
        report(outcome("web1"))["web9"]


@pytest.mark.parametrize("name", ["ops@web1:22", "web1", Target("web1", "ops", 22), "a@db"])
def test_what_can_be_asked_for_is_in_the_report(name: str | Target) -> None:
    assert name in report(outcome("ops@web1:22"), outcome("a@db"), outcome("b@db"))


@pytest.mark.parametrize("name", ["web9", "ops@web1:23", "db", "", Target("web1"), None, 1, ["web1"]])
def test_what_cannot_be_asked_for_is_not_in_the_report(name: object) -> None:
    assert name not in report(outcome("ops@web1:22"), outcome("a@db"), outcome("b@db"))


def test_outcomes_are_in_their_report() -> None:
    some = report(outcome("a"), outcome("b"))
    assert all(each in some for each in some)
    assert outcome("c") not in some


def test_by_status_holds_those_that_occur() -> None:
    some = report(outcome("a"), outcome("b", Status.LOST), outcome("c"))
    assert {status: [each.host for each in found] for status, found in some.by_status.items()} == {
        Status.OK: ["a", "c"],
        Status.LOST: ["b"],
    }
    assert not some.ok
    assert [each.host for each in some.not_ok] == ["b"]


def test_slowest_leaves_out_what_never_started() -> None:
    some = report(outcome("a", seconds=1), outcome("b", seconds=3), outcome("c", Status.NOT_RUN, None), outcome("d"))
    assert [each.host for each in some.slowest(2)] == ["b", "a"]


@pytest.mark.parametrize(("q", "seconds"), [(0, 1), (25, 1), (26, 2), (50, 2), (75, 3), (99, 4), (100, 4)])
def test_percentile_is_the_nearest_rank(q: float, seconds: float) -> None:
    assert report(*(outcome(f"h{n}", seconds=n) for n in (3, 1, 4, 2))).percentile(q) == seconds


def test_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(report(outcome("a", Status.NOT_RUN, None)).percentile(50))


@pytest.mark.parametrize("q", [-1, 100.5, math.nan])
def test_impossible_percentile_is_refused(q: float) -> None:
    with pytest.raises(InvalidSetting, match="percentile"):
        report(outcome("a")).percentile(q)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        ([outcome("a")], 0),
        ([outcome("a"), outcome("b", Status.FAILED)], 1),
        ([outcome("a", Status.LOST)], 1),
        ([outcome("a", Status.TIMED_OUT)], 1),
        ([outcome("a", Status.TIMED_OUT, sent=False)], 3),
        ([outcome("a", Status.FAILED), outcome("b", Status.UNREACHABLE)], 3),
        ([outcome("a", Status.LOCAL)], 3),
        ([outcome("a"), outcome("b", Status.NOT_RUN, None)], 0),
        ([outcome("a", Status.FAILED), outcome("b", Status.NOT_RUN, None)], 1),
        ([outcome("a"), outcome("b", Status.NOT_RUN, None, clock="deadline")], 3),
    ],
)
def test_exit_code(outcomes: list[Outcome], code: int) -> None:
    assert report(*outcomes).exit_code == code


def test_raise_for_failures_names_the_first_few() -> None:
    report(outcome("a")).raise_for_failures()
    failed = report(outcome("a"), *(outcome(f"b{n}", Status.LOST) for n in range(5)))
    with pytest.raises(HostsFailed, match=r"^5 of 6 hosts failed: b0: lost happened; .*b2: .*; and 2 more$"):
        failed.raise_for_failures()


def test_json_tells_all_of_an_outcome() -> None:
    text = report(
        outcome(
            "web1", Status.FAILED, exit_code=3, phase=Phase.CLOSE, stdout_kept="ä\n".encode(), stderr_kept=b"\xff"
        )
    ).to_json()
    told = json.loads(text)
    assert (told["exit_code"], told["counts"]) == (1, {"failed": 1})
    (one,) = told["outcomes"]
    assert (one["host"], one["status"], one["exit_code"], one["ok"]) == ("web1", "failed", 3, False)
    assert (one["stdout"], one["stderr_base64"]) == ("ä\n", "/w==")
    assert one["phases"] == {"queued": 0.5, "run": 1.0}


def test_json_of_an_empty_report_has_no_outcomes() -> None:
    assert json.loads(report().to_json())["outcomes"] == []


@given(st.text().map(str.encode) | st.binary())
def test_json_in_pieces_has_every_byte_of_the_output(output: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "_PIECE", 3)
        told = json.loads("".join(outcome_json(outcome("web1", stdout_kept=output, stderr_kept=output), type="x")))

    assert next(iter(told)) == "type"
    for name in ("stdout", "stderr"):
        kept = told[name].encode() if name in told else base64.b64decode(told[f"{name}_base64"], validate=True)
        assert kept == output


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_json_of_large_output_comes_in_small_pieces(byte: bytes) -> None:
    pieces = [len(piece) for piece in outcome_json(outcome("web1", stdout_kept=byte * 2_000_000))]

    assert sum(pieces) > 2_000_000
    assert max(pieces) < 1_200_000


def test_report_pickles_also_after_it_was_asked() -> None:
    some = report(outcome("a"), outcome("b", Status.LOST))
    assert some["b"].status is Status.LOST
    assert pickle.loads(pickle.dumps(some)) == some
