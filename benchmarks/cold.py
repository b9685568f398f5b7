"""How long does `true` take on 200 hosts, over new connections to a real sshd? All peers."""

from __future__ import annotations

import statistics

from benchmarks.contenders.peers import SSH_STARTERS, peers
from benchmarks.harness.measure import Figures, Options, column, interleave, over
from benchmarks.harness.results import Picture, Result
from sshfan_async.testing import SshdFleet

__all__ = ["run"]

_FANOUT = 64
_MIB = 1 / 2**20
_EXCHANGES: tuple[tuple[str, dict[str, str], float], ...] = (
    ("curve25519", {"KexAlgorithms": "curve25519-sha256"}, 1.12),
    ("default key exchange", {}, 1.05),
)


def run(options: Options, result: Result) -> None:
    hosts = options.size(200, 3)
    for exchange, sshd_options, bar in _EXCHANGES:
        with SshdFleet(hosts, sshd_options=sshd_options) as fleet:
            contenders = peers(fleet, "true", _FANOUT, result, libraries=bool(sshd_options))
            about = f"{hosts} hosts, {exchange}"
            series = interleave(contenders, options, f"cold, {about}")
            _rows(result, series, about, bar)
            walls = sorted((statistics.median(column(runs, "wall")), name) for name, runs in series.items())
            result.pictures.append(
                Picture(
                    file=f"cold-{exchange.split()[0]}.png",
                    title=f"`true` on {about}, fanout {_FANOUT}: wall",
                    across="",
                    up="seconds",
                    series={"wall": [(name, wall) for wall, name in walls]},
                )
            )


def _rows(result: Result, series: dict[str, list[Figures]], about: str, bar: float) -> None:
    ours = series["fan_out"]
    for name, runs in series.items():
        if name == "xargs":
            result.add(f"{about}: wall, fan_out / xargs -P", over(ours, runs, "wall"), at_most=bar)
            result.add(f"{about}: CPU, fan_out / xargs -P", over(ours, runs, "cpu"))
            killing = over(series["fan_out, on_stop=kill"], runs, "wall")
            result.add(f"{about}: wall, fan_out with on_stop=kill / xargs -P", killing)
            result.add(f"{about}: wall, sshfan / xargs -P", over(series["sshfan"], runs, "wall"))
        elif name in SSH_STARTERS:
            result.add(f"{about}: wall, fan_out / {name}", over(ours, runs, "wall"), at_most=1)
        elif not name.startswith(("fan_out", "sshfan")):
            result.add(f"{about}: wall, fan_out / {name}", over(ours, runs, "wall"))
    for name, runs in series.items():
        result.add(f"{about}: wall, {name}", column(runs, "wall"), "s")
        result.add(f"{about}: CPU with children, {name}", column(runs, "cpu"), "s")
        result.add(f"{about}: peak memory of its own process, {name}", column(runs, "peak", _MIB), "MiB")
