"""How fast does `sshfan` print many lines, live and gathered, compared with pdsh and clush?"""

from __future__ import annotations

import shlex
import shutil
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders.program import program
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.measure import Options, column, command, interleave, over
from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.measure import Figures
    from benchmarks.harness.results import Result

__all__ = ["run"]

_FANOUT = 64
_MIB = 1 / 2**20
_LINES = 20_000
_GATHERED_HOSTS = 1_000
_GATHERED_LINES = 1_000


def run(options: Options, result: Result) -> None:
    hosts = options.size(100, 3)
    lines = 50 if options.quick else _LINES
    _many_lines(options, result, hosts, lines)
    _many_hosts(options, result, 20 if options.quick else _GATHERED_HOSTS, 50 if options.quick else _GATHERED_LINES)


def _many_lines(options: Options, result: Result, hosts: int, lines: int) -> None:
    remote = f"seq -f 'a line of output, number %g' {lines}"
    about = f"{hosts} hosts x {lines:,} lines"
    with SshdFleet(hosts, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        names, config = ",".join(fleet.hosts), str(fleet.ssh_config)
        pdsh = ["pdsh", "-S", "-R", "ssh", "-f", str(_FANOUT), "-w", names, remote]
        clush = ["clush", "-S", "-f", str(_FANOUT), "-w", names, "-o", f"-F {config} -oBatchMode=yes"]
        sshfan = [*program(), "--ssh-config", config, "-f", str(_FANOUT), "-w", names]
        variables = {"PDSH_SSH_ARGS": f"-F {config} -oBatchMode=yes -x -l%u %h"}
        piped = ["sh", "-c", f"{shlex.join(pdsh)} | dshbak -c"]
        # Gathered output is a heading of three lines, then each line once.
        live = _installed(
            {
                "sshfan": partial(command, [*sshfan, remote], lines=hosts * lines),
                "pdsh": partial(command, pdsh, variables=variables, lines=hosts * lines),
                "clush": partial(command, [*clush, remote], lines=hosts * lines),
            },
            result,
        )
        gathered = _installed(
            {
                "sshfan": partial(command, [*sshfan, "-b", remote], lines=lines + 3),
                "pdsh": partial(command, piped, variables=variables, lines=lines + 3),
                "clush": partial(command, [*clush, "-b", remote], lines=lines + 3),
            },
            result,
        )
        series = interleave(live, options, f"lines, {about}, live")
        gathered_series = interleave(gathered, options, f"lines, {about}, gathered")
    ours, ours_gathered = series["sshfan"], gathered_series["sshfan"]
    if "clush" in series:
        result.add(f"{about}, live: CPU, sshfan / clush", over(ours, series["clush"], "cpu"), at_most=0.2)
        ratios = over(ours_gathered, gathered_series["clush"], "wall")
        result.add(f"{about}: wall, sshfan -b / clush -b", ratios, at_most=0.2)
    if "pdsh" in series:
        result.add(f"{about}, live: wall, sshfan / pdsh", over(ours, series["pdsh"], "wall"), at_most=1.3)
        ratios = over(ours_gathered, gathered_series["pdsh"], "wall")
        result.add(f"{about}: wall, sshfan -b / (pdsh | dshbak -c)", ratios, at_most=1)
    for kind, runs in (("live", series), ("gathered", gathered_series)):
        for name, figures in runs.items():
            result.add(f"{about}, {kind}: wall, {name}", column(figures, "wall"), "s")
            result.add(f"{about}, {kind}: CPU with children, {name}", column(figures, "cpu"), "s")
            result.add(
                f"{about}, {kind}: peak memory of its own process, {name}", column(figures, "peak", _MIB), "MiB"
            )


def _many_hosts(options: Options, result: Result, hosts: int, lines: int) -> None:
    # All hosts are this machine. About one in ten outputs differs, by the id of its shell.
    remote = f"seq -f 'a line of output, number %060g' {lines}; [ $(($$ / 2 % 10)) -ne 0 ] || echo $$"
    about = f"{hosts:,} hosts x {lines:,} lines, about 90 % identical, gathered"
    with SshdFleet(hosts, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        argv = [
            *program(),
            "--ssh-config",
            str(fleet.ssh_config),
            "-f",
            str(_FANOUT),
            "-b",
            "-w",
            ",".join(fleet.hosts),
        ]
        series = interleave({"sshfan": partial(command, [*argv, remote])}, options, f"lines, {about}")["sshfan"]
    if any(figures["bytes"] < lines * 80 for figures in series):
        raise RunFailed("sshfan -b printed less than the output of one host")
    result.add(f"{about}: peak memory, sshfan", column(series, "peak", _MIB), "MiB", at_most=200)
    result.add(f"{about}: wall, sshfan", column(series, "wall"), "s")


def _installed(contenders: dict[str, Callable[[], Figures]], result: Result) -> dict[str, Callable[[], Figures]]:
    found = {"sshfan": contenders.pop("sshfan")}
    for name, contender in contenders.items():
        if shutil.which(name) is None:
            result.missing(name, {"pdsh": "pdsh (Debian)", "clush": "clustershell (Debian)"}[name])
        else:
            found[name] = contender
    return found
