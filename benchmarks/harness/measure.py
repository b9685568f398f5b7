"""Run contenders in interleaved rounds, each run in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks.harness.cpus import on_cpu
from benchmarks.harness.errors import RunFailed, TooSlow
from benchmarks.harness.pythons import Python
from benchmarks.harness.usage import peak_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "ROOT",
    "Figures",
    "Options",
    "column",
    "command",
    "interleave",
    "over",
    "worker",
    "worker_argv",
]

Figures: TypeAlias = dict[str, Any]
"""The figures of one run by name: seconds, bytes, counts."""

ROOT = Path(__file__).parent.parent.parent
_PEAK_INTERVAL = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of a benchmark, from the command line."""

    progress: Callable[[str], None]
    runs: int = 5
    hosts: int | None = None
    """The number of hosts, instead of a benchmark's own."""
    quick: bool = False
    """Use tiny sizes, only to check that the benchmark works."""
    pythons: tuple[Python, ...] = field(default_factory=lambda: (Python.current(),))
    """The interpreters in which the plain service runs; the first one is that of this process."""
    many: int = 100_000
    """The larger number of hosts of the benchmark `flat`."""

    def size(self, full: int, quick: int) -> int:
        """Return the number of hosts: `hosts` if given, else `quick` or `full`."""
        if self.hosts is not None:
            return self.hosts
        return quick if self.quick else full


def interleave(
    contenders: Mapping[str, Callable[[], Figures]], options: Options, about: str
) -> dict[str, list[Figures]]:
    """Run the contenders in the order A B A B …, so that a disturbance of the machine hits all of them.

    A contender that is `TooSlow` is not run again, and is missing from the result.
    """
    series: dict[str, list[Figures]] = {name: [] for name in contenders}
    for turn in range(options.runs):
        for name in list(series):
            options.progress(f"{about}: round {turn + 1} of {options.runs}: {name}")
            try:
                series[name].append(contenders[name]())
            except TooSlow:
                del series[name]
    return series


def column(series: Sequence[Figures], key: str, scale: float = 1.0) -> list[float]:
    """Return one figure of every run, times `scale`."""
    return [figures[key] * scale for figures in series]


def over(ours: Sequence[Figures], theirs: Sequence[Figures], key: str) -> list[float]:
    """Return the ratio of one figure, ours to theirs, in each round."""
    return [a[key] / b[key] for a, b in zip(ours, theirs, strict=True)]


def worker_argv(name: str, /, **parameters: Any) -> list[str]:
    """Return the command line that runs a task of `benchmarks.contenders` in a fresh interpreter."""
    return [sys.executable, "-m", "benchmarks.contenders", name, json.dumps(parameters)]


def worker(
    name: str,
    /,
    *,
    kill_after: float | None = None,
    python: Python | None = None,
    cpu: int | None = None,
    **parameters: Any,
) -> Figures:
    """Run the task `name` of `benchmarks.contenders` in a fresh interpreter and return its figures.

    `kill_after`: the timeout in seconds. `python`: the interpreter, if not this one. `cpu`: the CPU for the task and
    all its children.

    Raises:
        RunFailed: the task failed; the message is the last line of its standard error.
        TooSlow: the task did not end in time.

    """
    argv = worker_argv(name, **parameters)
    if python is not None:
        argv[0] = python.path
    try:
        done = subprocess.run(
            argv if cpu is None else on_cpu(cpu, argv),
            cwd=ROOT,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=kill_after,
        )
    except subprocess.TimeoutExpired:
        raise TooSlow(f"worker {name}: more than {kill_after} s") from None
    if done.returncode != 0:
        raise RunFailed(f"worker {name}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    figures: Figures = json.loads(done.stdout)
    return figures


def command(
    argv: Sequence[str],
    *,
    given: str = "",
    variables: Mapping[str, str] | None = None,
    lines: int | None = None,
    kill_after: float | None = None,
    cpu: int | None = None,
) -> Figures:
    """Run a program with `given` on its standard input and return its figures.

    The figures: `wall`, `cpu` with its children, `peak` of its own memory, `bytes` written, and the `last` of them as
    text. `lines`: the number of lines that it must write, to prove that it reached every host. `kill_after`: the
    timeout in seconds. `cpu`: the CPU for the program and all its children.

    Raises:
        TooSlow: the program did not end in time.
        RunFailed: the exit code is not 0, or the number of lines is wrong.

    """
    began = time.perf_counter()
    process = subprocess.Popen(
        argv if cpu is None else on_cpu(cpu, argv),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(variables or {})},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    peaks = [0]
    watching = threading.Thread(target=_watch_peak, args=(process.pid, peaks))
    watching.start()
    ending = None if kill_after is None else threading.Timer(kill_after, process.kill)
    if ending is not None:
        ending.start()
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(given.encode())
    count, last, size = 0, b"", 0
    while data := process.stdout.read(1 << 20):
        count += data.count(b"\n")
        size += len(data)
        last = data[-400:]
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    watching.join()
    if ending is not None:
        ending.cancel()
        if wall >= ending.interval:
            raise TooSlow(f"{argv[0]}: more than {kill_after} s")
    if process.returncode != 0 or (lines is not None and count != lines):
        said = " ".join(last.decode(errors="backslashreplace").split())
        raise RunFailed(f"{argv[0]}: exit code {process.returncode}, {count} lines, the last of them: {said}")
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": peaks[0],
        "bytes": size,
        "last": last.decode(errors="backslashreplace"),
    }


def _watch_peak(pid: int, peaks: list[int]) -> None:
    while (peak := peak_memory(pid)) > 0:
        peaks[0] = peak
        time.sleep(_PEAK_INTERVAL)
