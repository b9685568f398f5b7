"""Every peer that can run one command on a fleet, with the same hosts, keys and fanout."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.contenders.program import program
from benchmarks.contenders.task import Task
from benchmarks.harness.measure import command, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.measure import Figures
    from benchmarks.harness.results import Result
    from sshfan_async.testing import SshdFleet

__all__ = ["SSH_STARTERS", "pdsh", "peers", "to_nowhere", "xargs"]

Contender: TypeAlias = "Callable[..., Figures]"
"""A call that measures one run. It takes `kill_after`, the timeout in seconds."""

SSH_STARTERS = ("xargs", "pdsh", "clush", "pssh", "plain gather")
"""The peers that spawn ssh, as `fan_out` does."""


def peers(fleet: SshdFleet, remote: str, fanout: int, result: Result, *, libraries: bool) -> dict[str, Contender]:
    """Return the installed contenders by name, and note the missing ones in `result`.

    `libraries`: include asyncssh and parallel-ssh, which do not support OpenSSH's default key exchange.
    """
    task = Task.on(fleet, remote, fanout)
    found: dict[str, Contender] = {
        "fan_out": partial(worker, "hosts-fan-out", task=asdict(task), on_stop="leave"),
        "fan_out, on_stop=kill": partial(worker, "hosts-fan-out", task=asdict(task), on_stop="kill"),
        "plain gather": partial(worker, "hosts-gather", task=asdict(task)),
    }
    found |= _programs(task, result)
    if libraries:
        found |= _libraries(task, result)
    return found


def to_nowhere(fleet: SshdFleet, remote: str, fanout: int) -> Contender:
    """Return `xargs … ssh … | cat > /dev/null`: the time of hosts and ssh if nothing keeps the output."""
    task = Task.on(fleet, remote, fanout)
    script = '"$@" | cat > /dev/null'
    return partial(
        command, ["bash", "-o", "pipefail", "-c", script, "bash", *xargs(task)], given="\n".join(task.hosts)
    )


def xargs(task: Task) -> list[str]:
    """Return the command line of `xargs`, which reads the names of the hosts from its standard input."""
    return ["xargs", "-P", str(task.fanout), "-I", "{}", "ssh", *_options(task).split(), "{}", task.command]


def pdsh(task: Task) -> partial[Figures]:
    """Return pdsh with its `ssh` module."""
    return partial(
        command,
        ["pdsh", "-S", "-R", "ssh", "-f", str(task.fanout), "-w", ",".join(task.hosts), task.command],
        variables={"PDSH_SSH_ARGS": f"{_options(task)} -x -l%u %h"},
    )


def _options(task: Task) -> str:
    return f"-F {task.config} -oBatchMode=yes"


def _programs(task: Task, result: Result) -> dict[str, Contender]:
    options = _options(task)
    lines, comma, width = "\n".join(task.hosts), ",".join(task.hosts), str(task.fanout)
    found: dict[str, Contender] = {
        "sshfan": partial(command, [*program(), "--ssh-config", task.config, "-f", width, "-w", comma, task.command])
    }
    for name, package, run in (
        (
            "xargs",
            "findutils (Debian)",
            partial(command, xargs(task), given=lines),
        ),
        ("pdsh", "pdsh (Debian)", pdsh(task)),
        (
            "clush",
            "clustershell (Debian)",
            partial(command, ["clush", "-S", "-f", width, "-w", comma, "-o", options, task.command]),
        ),
        (
            "pssh",
            "pssh (Debian)",
            partial(
                command,
                ["parallel-ssh", "-i", "-t", "0", "-p", width, "-h", "/dev/stdin", "-x", options, task.command],
                given=lines,
            ),
        ),
    ):
        if shutil.which(run.args[0][0]) is None:
            result.missing(name, package)
        else:
            found[name] = run
    return found


def _libraries(task: Task, result: Result) -> dict[str, Contender]:
    found: dict[str, Contender] = {}
    for name, module in (("asyncssh", "asyncssh"), ("parallel-ssh", "pssh")):
        if importlib.util.find_spec(module) is None:
            result.missing(name, f"{name} (pip)")
        else:
            found[name] = partial(worker, f"hosts-{name}", task=asdict(task))
    return found
