"""How long does `true` take on 200 hosts of a real sshd, which shares the CPUs with the client? Default settings."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders.peers import pdsh, xargs
from benchmarks.contenders.task import Task
from benchmarks.harness.measure import Options, column, command, interleave, over, worker
from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.measure import Figures
    from benchmarks.harness.results import Result

__all__ = ["run"]

_FANOUT = 32


def run(options: Options, result: Result) -> None:
    hosts = options.size(200, 3)
    about = f"{hosts} hosts of a real sshd on the same CPUs"
    with SshdFleet(hosts, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        task = Task.on(fleet, "true", _FANOUT)
        contenders: dict[str, Callable[[], Figures]] = {
            "xargs": partial(command, xargs(task), given="\n".join(task.hosts))
        }
        if shutil.which("pdsh") is None:
            result.missing("pdsh", "pdsh (Debian)")
        else:
            contenders["pdsh"] = pdsh(task)
        for python in options.pythons:
            contenders[f"fan_out, {python}"] = partial(
                worker,
                "service-fan-out",
                python=python,
                hosts=task.hosts,
                fanout=task.fanout,
                ssh={"config_file": task.config},
            )
        series = interleave(contenders, options, f"shared, {about}")
    for python in options.pythons:
        ours = series[f"fan_out, {python}"]
        result.add(f"{about}: wall, fan_out / xargs, {python}", over(ours, series["xargs"], "wall"))
        if "pdsh" in series:
            result.add(f"{about}: wall, fan_out / pdsh, {python}", over(ours, series["pdsh"], "wall"), at_most=1)
    for name, runs in series.items():
        result.add(f"{about}: wall, {name}", column(runs, "wall"), "s")
