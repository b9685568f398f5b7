"""`python -m benchmarks.contenders TASK PARAMETERS`: run one contender; parameters and figures are JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from benchmarks.contenders import distance, engine, hosts, log, polling, warm

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.measure import Figures

_TASKS: dict[str, Callable[..., Figures]] = {
    "engine-fan-out": engine.fan_out_run,
    "engine-gather": engine.gather_run,
    "engine-idle": engine.idle_run,
    "hosts-asyncssh": hosts.asyncssh_run,
    "hosts-fan-out": hosts.fan_out_run,
    "hosts-gather": hosts.gather_run,
    "hosts-parallel-ssh": hosts.parallel_ssh_run,
    "idle-loop": warm.idle_loop_run,
    "log": log.fan_out_run,
    "polling-loop": polling.polling_loop_run,
    "relay": distance.relay_run,
    "run": polling.run_run,
    "warm-asyncssh": warm.asyncssh_run,
    "warm-clustershell": warm.clustershell_run,
    "warm-control-master": warm.control_master_run,
    "warm-fleet": warm.fleet_run,
    "warm-idle": warm.idle_run,
    "warm-parallel-ssh": warm.parallel_ssh_run,
}


def main(task: str, parameters: str) -> None:
    try:
        figures = _TASKS[task](**json.loads(parameters))
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        sys.exit(f"{type(cause).__name__}: {cause}")
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
