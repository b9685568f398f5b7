"""`fan_out` with ssh's log and without it."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks.contenders.loop import standard_loop
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.usage import Usage
from sshfan_async import Ssh, fan_out
from sshfan_async.process import argv as ssh_argv
from sshfan_async.process.log_pipe import LogPipes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.measure import Figures

__all__ = ["fan_out_run"]

_PIPES = 200


def fan_out_run(config: str, hosts: list[str], options: dict[str, str], log: bool) -> Figures:
    """Measure `fan_out`. If `log` is False, ssh writes no log.

    Both variants create the log pipe, so `pipe` is its cost, measured apart: seconds of CPU per host.
    """
    ssh = Ssh(config_file=config, options=options)

    async def run() -> Figures:
        await fan_out("node001", "true", ssh=ssh)
        with Usage() as usage:
            report = await fan_out(hosts, "true", fanout=64, on_stop="leave", ssh=ssh)
        if not report.ok:
            raise RunFailed(report.not_ok[0].reason)
        return {**usage.figures, "pipe": _pipe_cost()}

    with ExitStack() as stack:
        if not log:
            stack.enter_context(_without_log())
        return standard_loop(run)


@contextmanager
def _without_log() -> Iterator[None]:
    def common_argv(*arguments: Any, **given: Any) -> tuple[str, ...]:
        argv = ssh_argv.common_argv(*arguments, **given)
        return tuple(each for each in argv if not each.startswith(("-oLogVerbose", "-oLogLevel")))

    def target_argv(common: tuple[str, ...], *arguments: Any, **given: Any) -> list[str]:
        argv = ssh_argv.target_argv(common, *arguments, **given)
        at = argv.index("-E")
        return argv[:at] + argv[at + 2 :]

    with (
        mock.patch("sshfan_async.engine.supervisor.common_argv", common_argv),
        mock.patch("sshfan_async.engine.attempt.target_argv", target_argv),
    ):
        yield


def _pipe_cost() -> float:
    loop, pipes = asyncio.get_running_loop(), LogPipes()
    began = time.process_time()
    for _ in range(_PIPES):
        pipe = pipes.open()
        loop.add_reader(pipe.read_end, int)
        loop.remove_reader(pipe.read_end)
        pipe.close()
    return (time.process_time() - began) / _PIPES
