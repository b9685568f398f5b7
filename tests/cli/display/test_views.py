"""What other programs read: --json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.cli_program import Sshfan

OUTCOME: dict[str, Any] = {
    "type": str, "host": str, "target": str, "status": str, "ok": bool, "exit_code": (int, type(None)),
    "signal": (str, type(None)), "sent": bool, "attempts": int, "clock": (str, type(None)), "phase": str,
    "phases": dict, "started_at": (float, type(None)), "elapsed": (float, int), "remote": str, "reason": str,
    "stdout": str, "stdout_dropped": int, "stderr": str, "stderr_dropped": int,
}  # fmt: skip
SUMMARY: dict[str, Any] = {
    "type": str, "hosts": int, "counts": dict, "seconds": float, "finished_at": float, "ended_by": (str, type(None)),
    "exit_code": int,
}  # fmt: skip


def test_json_is_a_line_for_each_outcome_and_a_summary(on_fleet: Sshfan) -> None:
    done = on_fleet("--json", "-w", "node001,closed1", "echo out; echo err >&2; exit 3")
    *outcomes, summary = map(json.loads, done.stdout.splitlines())

    by_host = {outcome["host"]: outcome for outcome in outcomes}
    assert list(by_host) == ["closed1", "node001"]  # as they end
    assert by_host["node001"]["stdout"] == "out\n"
    assert by_host["node001"]["stderr"] == "err\n"
    assert by_host["closed1"]["status"] == "unreachable"
    assert (summary["hosts"], summary["counts"], summary["exit_code"]) == (2, {"failed": 1, "unreachable": 1}, 3)
    for fields, schema in [*((outcome, OUTCOME) for outcome in outcomes), (summary, SUMMARY)]:
        assert fields.keys() == schema.keys()
        assert all(isinstance(value, schema[key]) for key, value in fields.items())


def test_output_that_is_no_text_is_base64_under_another_key(on_fleet: Sshfan) -> None:
    done = on_fleet("--json", "-w", "node001", r"printf '\377'")
    outcome = json.loads(done.stdout.splitlines()[0])

    assert outcome["stdout_base64"] == "/w=="
    assert "stdout" not in outcome
