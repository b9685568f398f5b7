"""`python -m benchmarks.contenders TASK PARAMETERS`: run one contender; parameters and figures are JSON.

Only the contender's own module is imported: what the others import would cost it memory, and so time.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

_TASKS = {
    "commands-asyncssh": "commands:asyncssh_run",
    "commands-asyncssh-latency": "commands:asyncssh_latency_run",
    "commands-fleet": "commands:fleet_run",
    "commands-fleet-latency": "commands:fleet_latency_run",
    "engine-fan-out": "engine:fan_out_run",
    "engine-gather": "engine:gather_run",
    "engine-idle": "engine:idle_run",
    "hosts-asyncssh": "hosts:asyncssh_run",
    "hosts-fan-out": "hosts:fan_out_run",
    "hosts-gather": "hosts:gather_run",
    "hosts-parallel-ssh": "hosts:parallel_ssh_run",
    "idle-loop": "warm:idle_loop_run",
    "log": "log:fan_out_run",
    "polling-loop": "polling:polling_loop_run",
    "relay": "distance:relay_run",
    "run": "polling:run_run",
    "service-asyncssh": "service:asyncssh_run",
    "service-fan-out": "service:fan_out_run",
    "service-idle": "service:idle_run",
    "warm-asyncssh": "warm:asyncssh_run",
    "warm-clustershell": "warm:clustershell_run",
    "warm-control-master": "warm:control_master_run",
    "warm-fleet": "warm:fleet_run",
    "warm-idle": "warm:idle_run",
    "warm-parallel-ssh": "warm:parallel_ssh_run",
}
"""The module in this folder and its function, by task."""


def main(task: str, parameters: str) -> None:
    module, _, function = _TASKS[task].partition(":")
    run = getattr(import_module(f"benchmarks.contenders.{module}"), function)
    try:
        figures = run(**json.loads(parameters))
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        sys.exit(f"{type(cause).__name__}: {cause}")
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
