"""How long does a start take: `sshfan --version`, the import, and one host from the shell?"""

from __future__ import annotations

import shutil
import sys
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


def run(options: Options, result: Result) -> None:
    if len(program()) > 1:
        result.notes.append("sshfan is not installed beside this interpreter; measured: `python -m sshfan_async`")
    with SshdFleet(1) as fleet:
        host, config = fleet.hosts[0], str(fleet.ssh_config)
        contenders = {
            "sshfan --version": partial(command, [*program(), "--version"], lines=1),
            "python -c 'import asyncio'": partial(command, [sys.executable, "-c", "import asyncio"]),
            _FAN_OUT: partial(_import, _FAN_OUT),
            "import asyncio, anyio": partial(_import, "import asyncio, anyio"),
            "sshfan, one host": partial(command, [*program(), "--ssh-config", config, "-w", host, "true"]),
            "ssh, one host": partial(command, [_ssh(), "-F", config, host, "true"]),
        }
        for each in contenders.values():
            each()  # the first run compiles the modules, as an installation does
        series = interleave(contenders, options, "startup")
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
    pairs = zip(series["sshfan, one host"], series["ssh, one host"], strict=True)
    result.add("one host: sshfan - ssh", [_MS * (a["wall"] - b["wall"]) for a, b in pairs], "ms", at_most=150)
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
