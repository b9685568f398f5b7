"""How long does a start take: `sshfan --version`, the import, and one host from the shell?"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders.program import program
from benchmarks.harness.measure import Figures, Options, column, command, interleave, over
from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from benchmarks.harness.results import Result

__all__ = ["run"]

_MS = 1000.0
_IMPORT = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
_FAN_OUT = "from sshfan_async import fan_out"
_SCRIPT = "import sys; from sshfan_async.__main__ import main; sys.exit(main())"
"""What the installed program `sshfan` does."""
_ROUNDS = 5
"""A start is short and its time varies, so there are more rounds."""


def run(options: Options, result: Result) -> None:
    if len(program()) > 1:
        result.notes.append("sshfan is not installed beside this interpreter; measured: `python -m sshfan_async`")
    _one_host(options, result)
    _imports(options, result)


def _one_host(options: Options, result: Result) -> None:
    options = replace(options, runs=options.runs * _ROUNDS)
    with SshdFleet(1) as fleet:
        host, config = fleet.hosts[0], str(fleet.ssh_config)
        contenders = {"ssh": partial(command, [_ssh(), "-F", config, host, "true"])}
        for python in options.pythons:
            start = program() if python == options.pythons[0] else [python.path, "-c", _SCRIPT]
            contenders[f"sshfan, {python}"] = partial(command, [*start, "--ssh-config", config, "-w", host, "true"])
        for each in contenders.values():
            each()  # the first run compiles the modules, as an installation does
        series = interleave(contenders, options, "startup, one host")
    for python in options.pythons:
        pairs = zip(series[f"sshfan, {python}"], series["ssh"], strict=True)
        beyond = [_MS * (a["wall"] - b["wall"]) for a, b in pairs]
        result.add(f"one host: sshfan -w host true - ssh host true, {python}", beyond, "ms", at_most=100)
    for name, runs in series.items():
        result.add(f"one host: {name}", column(runs, "wall", _MS), "ms")
    result.add("one host: CPU of ssh", column(series["ssh"], "cpu", _MS), "ms")


def _imports(options: Options, result: Result) -> None:
    contenders = {
        "sshfan --version": partial(command, [*program(), "--version"], lines=1),
        "python -c 'import asyncio'": partial(command, [sys.executable, "-c", "import asyncio"]),
        _FAN_OUT: partial(_import, _FAN_OUT),
        "import asyncio, anyio": partial(_import, "import asyncio, anyio"),
    }
    for each in contenders.values():
        each()
    series = interleave(contenders, options, "startup, imports")
    result.add(
        "sshfan --version / python -c 'import asyncio'",
        over(series["sshfan --version"], series["python -c 'import asyncio'"], "wall"),
        at_most=2,
    )
    result.add(
        f"{_FAN_OUT} / import asyncio, anyio",
        over(series[_FAN_OUT], series["import asyncio, anyio"], "wall"),
        at_most=2,
    )
    for name, runs in series.items():
        result.add(name, column(runs, "wall", _MS), "ms")


def _import(statement: str) -> Figures:
    return {"wall": float(_stdout([sys.executable, "-c", _IMPORT.format(statement)]))}


def _stdout(argv: list[str]) -> str:
    said: str = command(argv, lines=1)["last"]
    return said


def _ssh() -> str:
    found = shutil.which("ssh")
    assert found is not None
    return found
