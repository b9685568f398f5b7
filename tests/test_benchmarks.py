"""The harness of the benchmarks: it must yield figures, whatever they are."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contenders.commands import open_loop
from benchmarks.harness.cpus import Cpus
from benchmarks.harness.errors import TooSlow
from benchmarks.harness.measure import Options, command, interleave
from benchmarks.harness.results import Row

ROOT = Path(__file__).parent.parent


def run_benchmarks(*arguments: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, env={**os.environ, **(variables or {})}
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["engine", "client", "commands"])
def test_a_quick_run_yields_a_figure_in_every_row(name: str, tmp_path: Path) -> None:
    if name != "engine" and shutil.which("go") is None:
        pytest.skip("Go is not installed: apt-get install golang-go golang-golang-x-crypto-dev")
    figures = tmp_path / "figures.json"
    done = run_benchmarks(name, "--quick", "--hosts", "5", "--json", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(figures.read_text())["results"][name]["rows"]
    assert len(rows) > 10
    assert all(math.isfinite(value) for row in rows for value in row["values"])
    assert all(row["what"] in done.stdout for row in rows)


def test_benchmark_that_lacks_a_program_is_left_out_with_one_line(tmp_path: Path) -> None:
    done = run_benchmarks("client", "--quick", variables={"PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "left out" in line)
    assert "apt-get install golang-go golang-golang-x-crypto-dev" in line


def test_interpreter_without_the_dependencies_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: anyio' >&2; exit 1\n")
    python.chmod(0o755)
    for path, said in ((str(python), "ModuleNotFoundError: anyio"), (str(tmp_path / "none"), "No such file")):
        done = run_benchmarks("client", "--python", path)
        assert done.returncode == 2
        assert path in done.stderr
        assert said in done.stderr


def test_each_version_of_python_is_measured_once() -> None:
    done = run_benchmarks("client", "--python", sys.executable)
    assert done.returncode == 2
    assert "measured already" in done.stderr


def test_contender_and_its_children_keep_to_their_cpu() -> None:
    cpu = Cpus.choose().client
    script = f"import os, subprocess; subprocess.run(['nproc']); print(os.sched_getaffinity(0) == {{{cpu}}})"
    assert command([sys.executable, "-c", script], cpu=cpu)["last"].split() == ["1", "True"]


async def test_latency_counts_from_the_time_that_a_command_is_due() -> None:
    """All commands end with the last one, so one that waits for those before it would wait for ever."""
    last = asyncio.Event()

    async def call(number: int) -> None:
        if number == 10:
            last.set()
        await last.wait()

    figures = await open_loop(call, rate=100, count=11)
    assert figures["p99"] >= 0.1
    assert figures["median"] >= 0.05


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
