"""The harness of the benchmarks: that it yields figures, never how large they are."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.results import Row

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


def test_a_bar_is_held_against_the_median() -> None:
    assert Row(what="wall", values=(1.0, 1.2, 9.0), at_most=1.35).held is True
    assert Row(what="wall", values=(1.0, 1.4, 9.0), at_most=1.35).held is False
    assert Row(what="speed", values=(2.0, 2.9, 9.0), at_least=3).held is False
