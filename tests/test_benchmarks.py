"""The harness of the benchmarks: it must yield figures, whatever they are."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.measure import Options, TooSlow, command, interleave
from benchmarks.harness.results import Row

ROOT = Path(__file__).parent.parent


def run_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.mark.slow
def test_a_quick_run_of_the_engine_yields_a_figure_in_every_row(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = run_benchmarks("engine", "--quick", "--hosts", "5", "--json", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(figures.read_text())["results"]["engine"]["rows"]
    assert len(rows) > 10
    assert all(math.isfinite(value) for row in rows for value in row["values"])
    assert all(row["what"] in done.stdout for row in rows)


def test_an_unknown_benchmark_is_refused_by_name() -> None:
    done = run_benchmarks("engin")
    assert done.returncode == 2
    assert "'engin'" in done.stderr


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(TooSlow, match=r"sleep: more than 0\.1 s"):
        command(["sleep", "60"], kill_after=0.1)


def test_program_that_is_too_slow_is_not_run_again() -> None:
    def slow() -> dict[str, float]:
        raise TooSlow("slow")

    said: list[str] = []
    options = Options(progress=said.append, runs=2)
    assert interleave({"quick": lambda: {"wall": 1.0}, "slow": slow}, options, "x") == {"quick": [{"wall": 1.0}] * 2}
    assert said == ["x: round 1 of 2: quick", "x: round 1 of 2: slow", "x: round 2 of 2: quick"]


def test_a_bar_is_held_against_the_median() -> None:
    assert Row(what="wall", values=(1.0, 1.2, 9.0), at_most=1.35).held is True
    assert Row(what="wall", values=(1.0, 1.4, 9.0), at_most=1.35).held is False
    assert Row(what="speed", values=(2.0, 2.9, 9.0), at_least=3).held is False
