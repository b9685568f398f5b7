"""What does reading ssh's log cost? The same run over a real sshd, with the log and without."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.harness.measure import Options, column, interleave, over, worker
from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from benchmarks.harness.results import Result

__all__ = ["run"]

_MS = 1000.0
_EXCHANGES: tuple[tuple[str, dict[str, str], float], ...] = (
    ("default key exchange", {}, 1.05),
    ("curve25519", {"KexAlgorithms": "curve25519-sha256"}, 1.08),
)


def run(options: Options, result: Result) -> None:
    hosts = options.size(200, 4)
    with SshdFleet(hosts) as fleet:
        for exchange, ssh_options, bar in _EXCHANGES:
            given: dict[str, Any] = {
                "config": str(fleet.ssh_config),
                "hosts": list(fleet.hosts),
                "options": ssh_options,
            }
            contenders = {
                "with the log": partial(worker, "log", **given, log=True),
                "without": partial(worker, "log", **given, log=False),
            }
            about = f"{hosts} hosts, {exchange}"
            series = interleave(contenders, options, f"log, {about}")
            read, unread = series["with the log"], series["without"]
            result.add(f"{about}: wall, with the log / without", over(read, unread, "wall"), at_most=bar)
            result.add(f"{about}: CPU with ssh's, with the log / without", over(read, unread, "cpu"), at_most=bar)
            pairs = zip(read, unread, strict=True)
            added = [_MS * ((a["own"] - b["own"]) / hosts + a["pipe"]) for a, b in pairs]
            result.add(f"{about}: our own CPU per host, the log's part", added, "ms", at_most=0.4)
            for name, runs in series.items():
                result.add(f"{about}: wall, {name}", column(runs, "wall"), "s")
                result.add(f"{about}: CPU per host with ssh's, {name}", column(runs, "cpu", _MS / hosts), "ms")
                result.add(f"{about}: our own CPU per host, {name}", column(runs, "own", _MS / hosts), "ms")
