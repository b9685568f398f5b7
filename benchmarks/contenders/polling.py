"""`run()` and the polling loop on real hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks.contenders import polling_loop
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.usage import Usage
from sshfan_async import Ssh, fan_out, legacy

if TYPE_CHECKING:
    from benchmarks.harness.measure import Figures
    from sshfan_async import Report

__all__ = ["polling_loop_run", "run_run"]


def run_run(config: str, hosts: list[str], command: str, limit: float) -> Figures:
    """Measure `run()`. The launch times come from the report behind it."""
    reports: list[Report] = []

    async def keep_report(*arguments: Any, **options: Any) -> Report:
        reports.append(await fan_out(*arguments, **options))
        return reports[0]

    with mock.patch("sshfan_async.legacy.fan_out", keep_report), Usage() as usage:
        said = legacy.run(hosts, command, ssh=Ssh(config_file=config), deadline=limit)
    launched = {outcome.host: outcome.started_at for outcome in reports[0]}
    return {**usage.figures, **_errors(dict(said["result"]), launched)}


def polling_loop_run(config: str, hosts: list[str], command: str, limit: float) -> Figures:
    launched: dict[str, float] = {}
    with Usage() as usage:
        said = polling_loop.run(
            hosts,
            command,
            ssh=("ssh", "-F", config, "-oBatchMode=yes"),
            on_launch=launched.__setitem__,
            give_up_after=limit,
        )
    return {**usage.figures, **_errors(said["result"], launched)}


def _errors(result: dict[str, Any], launched: dict[str, Any]) -> Figures:
    """Return the errors of `delta_time`. Each command prints the time last.

    `unfinished`: the number of hosts that were stopped at the limit.
    """
    ended = {host: each for host, each in result.items() if each["status"] == legacy.STATUS_SUCC}
    for each in result.values():
        if each["status"] != legacy.STATUS_SUCC and "deadline" not in each["err"]:
            raise RunFailed(each["err"].strip())
    errors = sorted(
        each["delta_time"] - (float(each["out"][-40:].split()[-1]) - launched[host]) for host, each in ended.items()
    )
    return {
        "unfinished": len(launched) - len(ended),
        "median_error": errors[len(errors) // 2] if errors else None,
        "largest_error": errors[-1] if errors else None,
    }
