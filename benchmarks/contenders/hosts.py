"""Those who reach real hosts from within Python: this package, a plain gather, and the in-process libraries."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.contenders.engine import standard_loop
from benchmarks.contenders.usage import Usage
from benchmarks.measure import Figures, RunFailed
from sshfan_async import Ssh, fan_out

__all__ = ["asyncssh_run", "fan_out_run", "gather_run", "parallel_ssh_run"]


def fan_out_run(fleet: dict[str, Any], command: str, fanout: int, on_stop: Any) -> Figures:
    async def run() -> Figures:
        ssh = Ssh(config_file=fleet["config"])
        with Usage() as usage:
            report = await fan_out(fleet["hosts"], command, fanout=fanout, on_stop=on_stop, ssh=ssh)
        if not report.ok:
            raise RunFailed(report.not_ok[0].reason)
        return {**usage.figures, "bytes": sum(len(outcome.stdout) for outcome in report)}

    return standard_loop(run)


def gather_run(fleet: dict[str, Any], command: str, fanout: int) -> Figures:
    async def one(host: str, places: asyncio.Semaphore) -> int:
        async with places:
            process = await asyncio.create_subprocess_exec(
                "ssh", "-F", fleet["config"], "-oBatchMode=yes", host, command,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
            if process.returncode != 0:
                raise RunFailed(f"{host}: {err.decode(errors='backslashreplace').strip()}")
            kept.append(out)
            return len(out)

    kept: list[bytes] = []

    async def run() -> Figures:
        places = asyncio.Semaphore(fanout)
        with Usage() as usage:
            sizes = await asyncio.gather(*(one(host, places) for host in fleet["hosts"]))
        return {**usage.figures, "bytes": sum(sizes)}

    return standard_loop(run)


def asyncssh_run(fleet: dict[str, Any], command: str, fanout: int) -> Figures:
    import asyncssh

    kept: list[Any] = []

    async def one(places: asyncio.Semaphore) -> int:
        async with (
            places,
            asyncssh.connect(
                fleet["address"],
                fleet["port"],
                username=fleet["user"],
                client_keys=[fleet["key"]],
                known_hosts=fleet["known_hosts"],
                kex_algs=["curve25519-sha256"],
                agent_path=None,
                config=None,
            ) as connection,
        ):
            done = await connection.run(command, encoding=None, check=True)
            kept.append(done.stdout)
            return len(done.stdout or b"")

    async def run() -> Figures:
        places = asyncio.Semaphore(fanout)
        with Usage() as usage:
            sizes = await asyncio.gather(*(one(places) for _ in fleet["hosts"]))
        return {**usage.figures, "bytes": sum(sizes)}

    return standard_loop(run)


def parallel_ssh_run(fleet: dict[str, Any], command: str, fanout: int) -> Figures:
    from pssh.clients import ParallelSSHClient

    # It reads no ssh_config: every host is the fleet's one address.
    client = ParallelSSHClient(
        [fleet["address"]] * len(fleet["hosts"]),
        user=fleet["user"],
        port=fleet["port"],
        pkey=fleet["key"],
        pool_size=fanout,
        allow_agent=False,
        identity_auth=False,
    )
    size, kept = 0, []
    with Usage() as usage:
        outputs = client.run_command(command)
        for output in outputs:
            for line in output.stdout:
                kept.append(line)
                size += len(line) + 1
        client.join(outputs)
    codes = {output.exit_code for output in outputs}
    if codes != {0}:
        raise RunFailed(f"exit codes {codes}")
    return {**usage.figures, "bytes": size}
