"""What does the engine itself cost, with a stand-in for ssh: wall, CPU, stalls of the event loop?"""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.measure import Figures, Options, column, command, interleave, over, worker
from benchmarks.harness.stalls import add_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.pythons import Python
    from benchmarks.harness.results import Result

__all__ = ["run"]

_FANOUT = 64
_TRUE = "/bin/true"
_MS = 1000.0


def run(options: Options, result: Result) -> None:
    _wall(options, result)
    _stalls(options, result)


def _wall(options: Options, result: Result) -> None:
    hosts = options.size(1000, 30)
    names = "\n".join(f"node{number:05}" for number in range(hosts))
    contenders: dict[str, Callable[[], Figures]] = {
        "xargs": partial(command, ["xargs", "-n", "1", "-P", str(_FANOUT), _TRUE], given=names),
        **{f"fan_out, {python}": _service(python, hosts) for python in options.pythons},
        "plain gather": partial(worker, "engine-gather", program=_TRUE, hosts=hosts, fanout=_FANOUT),
    }
    if shutil.which("pdsh") is None:
        result.missing("pdsh", "pdsh (Debian)")
    else:
        nodes = f"node[00000-{hosts - 1:05}]"
        contenders["pdsh"] = partial(command, ["pdsh", "-R", "exec", "-f", str(_FANOUT), "-w", nodes, _TRUE])
    series = interleave(contenders, options, f"engine, wall of {hosts:,} hosts")
    about = f"wall, {hosts:,} hosts, fanout {_FANOUT}"
    for python in options.pythons:
        ratios = over(series[f"fan_out, {python}"], series["xargs"], "wall")
        bar = 1.25 if python.version >= (3, 12) else 1.35
        result.add(f"{about}: fan_out / xargs -P {_FANOUT}, {python}", ratios, at_most=bar)
    ours = series[f"fan_out, {options.pythons[0]}"]
    if "pdsh" in series:
        result.add(f"{about}: pdsh -R exec / fan_out", over(series["pdsh"], ours, "wall"), at_least=3)
    result.add(f"{about}: fan_out / plain gather", over(ours, series["plain gather"], "wall"))
    for name, runs in series.items():
        result.add(f"{about}: {name}", column(runs, "wall", _MS), "ms")
    for python in options.pythons:
        own = column(series[f"fan_out, {python}"], "own", _MS / hosts)
        result.add(f"our CPU per host, {hosts:,} hosts, fanout {_FANOUT}, {python}", own, "ms")


def _service(python: Python, hosts: int) -> partial[Figures]:
    """Return `fan_out` in a plain service."""
    return partial(worker, "service-fan-out", python=python, hosts=hosts, fanout=_FANOUT, ssh={"program": _TRUE})


def _stalls(options: Options, result: Result) -> None:
    hosts = options.size(1000, 30)
    contenders: dict[str, Callable[[], Figures]] = {
        **{f"fan_out, {python}": partial(_service(python, hosts), beat=True) for python in options.pythons},
        "plain gather": partial(worker, "engine-gather", program=_TRUE, hosts=hosts, fanout=_FANOUT, beat=True),
        "an idle loop beside xargs": partial(worker, "engine-idle", hosts=hosts, fanout=_FANOUT),
    }
    series = interleave(contenders, options, f"engine, stalls with {hosts:,} hosts")
    about = f"{hosts:,} hosts, fanout {_FANOUT}"
    for python in options.pythons:
        ours = column(series[f"fan_out, {python}"], "longest", _MS)
        result.add(f"longest stall, {about}: fan_out, {python}", ours, "ms", at_most=10)
    ratios = over(series[f"fan_out, {options.pythons[0]}"], series["plain gather"], "longest")
    result.add(f"longest stall, {about}: fan_out / plain gather", ratios, at_most=0.1)
    add_context(result, series, about)
