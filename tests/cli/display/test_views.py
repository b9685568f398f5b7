"""What is shown as it arrives, and what other programs read: --json."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from sshfan_async.cli.display import views
from sshfan_async.cli.display.lines import LineStyle
from sshfan_async.cli.display.screen import Screen
from sshfan_async.cli.display.views import LiveView
from sshfan_async.event import HostOutput
from sshfan_async.targets import Target
from tests.support.cli_program import LIMIT, environment

if TYPE_CHECKING:
    import pytest

    from sshfan_async.testing import SshdFleet
    from tests.support.cli_program import Sshfan

MEASURED = """
import pathlib, re, sys
from sshfan_async.cli.main import main
code = main()
peak = re.search("VmHWM: *([0-9]+) kB", pathlib.Path("/proc/self/status").read_text().replace(chr(9), " "))[1]
print("peak", peak, file=sys.stderr)
sys.exit(code)
"""

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


def test_json_of_large_output_does_not_fill_the_memory(fleet: SshdFleet) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "--ssh-config", fleet.ssh_config, "--json", "-w", "node[001-002]",
         "head -c 40000000 /dev/zero"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=LIMIT, env=environment(),
    )  # fmt: skip

    peak = int(done.stderr.split()[-1])
    assert peak < 200_000, f"{peak} kB"  # 64 MiB of output are kept in memory


def test_unfinished_lines_of_all_hosts_share_a_limit(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(views, "_MOST_UNFINISHED", 12)
    monkeypatch.setattr(views, "_LONG", 4)
    screen = Screen(None)
    view = LiveView(screen, {1: LineStyle(), 2: LineStyle()})
    for host, data in (("a", b"aaaaa"), ("b", b"bb"), ("c", b"ccccc"), ("b", b"bb"), ("a", b"a"), ("c", b"\n")):
        view.output(HostOutput(Target(host), host, "stdout", data))
    screen.flush()

    assert capfd.readouterr().out == "a: aaaaaa\nc: ccccc\n"
