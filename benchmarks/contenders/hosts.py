"""Run one command on real hosts with `fan_out`, a plain gather, asyncssh and parallel-ssh."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.library import asyncssh_connection
from benchmarks.contenders.loop import standard_loop
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.usage import Usage
from sshfan_async import Ssh, fan_out

if TYPE_CHECKING:
    from benchmarks.harness.measure import Figures

__all__ = ["asyncssh_run", "fan_out_run", "gather_run", "parallel_ssh_run"]


def fan_out_run(task: dict[str, Any], on_stop: Any) -> Figures:
    async def run() -> Figures:
        ssh = Ssh(config_file=task["config"])
        with Usage() as usage:
            report = await fan_out(task["hosts"], task["command"], fanout=task["fanout"], on_stop=on_stop, ssh=ssh)
        if not report.ok:
            raise RunFailed(report.not_ok[0].reason)
        return {**usage.figures, "bytes": sum(len(outcome.stdout) for outcome in report)}

    return standard_loop(run)


def gather_run(task: dict[str, Any]) -> Figures:
    async def one(host: str, slots: asyncio.Semaphore) -> int:
        async with slots:
            process = await asyncio.create_subprocess_exec(
                "ssh", "-F", task["config"], "-oBatchMode=yes", host, task["command"],
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
            if process.returncode != 0:
                raise RunFailed(f"{host}: {err.decode(errors='backslashreplace').strip()}")
            kept.append(out)
            return len(out)

    kept: list[bytes] = []

    async def run() -> Figures:
        slots = asyncio.Semaphore(task["fanout"])
        with Usage() as usage:
            sizes = await asyncio.gather(*(one(host, slots) for host in task["hosts"]))
        return {**usage.figures, "bytes": sum(sizes)}

    return standard_loop(run)


def asyncssh_run(task: dict[str, Any]) -> Figures:
    kept: list[Any] = []

    async def one(slots: asyncio.Semaphore) -> int:
        async with (
            slots,
            asyncssh_connection(task) as connection,
        ):
            done = await connection.run(task["command"], encoding=None, check=True)
            kept.append(done.stdout)
            return len(done.stdout or b"")

    async def run() -> Figures:
        slots = asyncio.Semaphore(task["fanout"])
        with Usage() as usage:
            sizes = await asyncio.gather(*(one(slots) for _ in task["hosts"]))
        return {**usage.figures, "bytes": sum(sizes)}

    return standard_loop(run)


def parallel_ssh_run(task: dict[str, Any]) -> Figures:
    from pssh.clients import ParallelSSHClient

    # parallel-ssh reads no ssh_config, so connect to the fleet's one address for every host.
    client = ParallelSSHClient(
        [task["address"]] * len(task["hosts"]),
        user=task["user"],
        port=task["port"],
        pkey=task["key"],
        pool_size=task["fanout"],
        allow_agent=False,
        identity_auth=False,
    )
    size, kept = 0, []
    with Usage() as usage:
        outputs = client.run_command(task["command"])
        for output in outputs:
            for line in output.stdout:
                kept.append(line)
                size += len(line) + 1
        client.join(outputs)
    codes = {output.exit_code for output in outputs}
    if codes != {0}:
        raise RunFailed(f"exit codes {codes}")
    return {**usage.figures, "bytes": size}
