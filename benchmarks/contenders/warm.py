"""Many commands over open connections: `Fleet`, and the libraries and tools that keep connections too."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from benchmarks.contenders.library import asyncssh_connection
from benchmarks.contenders.loop import standard_loop
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.heartbeat import Heartbeat, Turns, resident
from benchmarks.harness.measure import Figures, worker_argv
from benchmarks.harness.usage import Usage
from sshfan_async import Fleet, Ssh

__all__ = [
    "asyncssh_run",
    "clustershell_run",
    "control_master_run",
    "fleet_run",
    "idle_loop_run",
    "idle_run",
    "parallel_ssh_run",
]


def fleet_run(task: dict[str, Any], rounds: int, on_stop: Any, *, beat: bool = False) -> Figures:
    async def run() -> Figures:
        async with Fleet(task["hosts"], ssh=Ssh(config_file=task["config"]), fanout=task["fanout"]) as fleet:
            if not fleet.status.ok:
                raise RunFailed(fleet.status.not_ok[0].reason)
            await fleet.run("true", on_stop=on_stop)
            heart, turns, beside = Heartbeat(), Turns(), _IdleLoop()
            if beat:
                beside.start()
                heart.start()
                turns.start()
            size = 0
            with Usage() as usage:
                for _ in range(rounds):
                    report = await fleet.run(task["command"], on_stop=on_stop)
                    if not report.ok:
                        raise RunFailed(report.not_ok[0].reason)
                    size += sum(map(_kept, report))
            if beat:
                heart.stop()
                turns.stop()
                beside.stop()
            return {
                **usage.figures,
                "bytes": size,
                "longest": heart.longest if beat else 0.0,
                "turn": turns.longest,
                "idle": beside.longest,
            }

    return standard_loop(run)


class _IdleLoop:
    """An idle event loop in a child process. Its stalls are those that the machine itself causes."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(worker_argv("idle-loop"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> None:
        assert self._process is not None
        said, _ = self._process.communicate()
        self.longest = json.loads(said)["longest"]


def idle_loop_run() -> Figures:
    """Print an empty line, then measure an idle loop until standard input ends."""

    async def run() -> Figures:
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        heart = Heartbeat()
        heart.start()
        print(flush=True)
        await ended
        heart.stop()
        return {"longest": heart.longest}

    return standard_loop(run)


def _kept(outcome: Any) -> int:
    """Return the size of the output that an outcome keeps, without loading it."""
    kept = outcome.stdout_kept
    return len(kept) if isinstance(kept, bytes) else kept.size


def idle_run(task: dict[str, Any], seconds: float) -> Figures:
    """Measure an idle fleet: its CPU, its memory, and the stalls while it connects."""

    async def run() -> Figures:
        one = Fleet(task["hosts"][:1], ssh=Ssh(config_file=task["config"]))
        async with one:
            await one.run("true")
        gc.collect()
        before = resident()
        heart = Heartbeat()
        heart.start()
        async with Fleet(task["hosts"], ssh=Ssh(config_file=task["config"]), fanout=task["fanout"]) as fleet:
            heart.stop()
            if not fleet.status.ok:
                raise RunFailed(fleet.status.not_ok[0].reason)
            gc.collect()
            memory = resident() - before
            with Usage() as usage:
                await asyncio.sleep(seconds)
        return {
            "share": usage.figures["own"] / usage.figures["wall"],
            "memory": memory / len(task["hosts"]),
            "longest": heart.longest,
        }

    return standard_loop(run)


def asyncssh_run(task: dict[str, Any], rounds: int) -> Figures:
    async def run() -> Figures:
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(asyncssh_connection(task)) for _ in task["hosts"]]
            await asyncio.gather(*(connection.run("true", check=True) for connection in connections))
            size = 0
            with Usage() as usage:
                for _ in range(rounds):
                    ended = await asyncio.gather(
                        *(connection.run(task["command"], encoding=None, check=True) for connection in connections)
                    )
                    size += sum(len(each.stdout or b"") for each in ended)
            return {**usage.figures, "bytes": size}

    return standard_loop(run)


def parallel_ssh_run(task: dict[str, Any], rounds: int) -> Figures:
    from pssh.clients import ParallelSSHClient

    # parallel-ssh reads no ssh_config, so connect to the fleet's one address for every host.
    client = ParallelSSHClient(
        [task["address"]] * len(task["hosts"]),
        user=task["user"],
        port=task["port"],
        pkey=task["key"],
        pool_size=len(task["hosts"]),
        allow_agent=False,
        identity_auth=False,
    )

    def once(command: str) -> int:
        outputs = client.run_command(command)
        size = sum(len(line) + 1 for output in outputs for line in output.stdout)
        client.join(outputs)
        if {output.exit_code for output in outputs} != {0}:
            raise RunFailed("parallel-ssh: a command failed")
        return size

    once("true")
    size = 0
    with Usage() as usage:
        for _ in range(rounds):
            size += once(task["command"])
    return {**usage.figures, "bytes": size}


def control_master_run(task: dict[str, Any], rounds: int) -> Figures:
    """Measure a plain gather of `ssh` children over open ControlMaster connections."""

    async def one(options: list[str], host: str, slots: asyncio.Semaphore) -> int:
        async with slots:
            process = await asyncio.create_subprocess_exec(
                "ssh", *options, host, task["command"],
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
            if process.returncode != 0:
                raise RunFailed(f"{host}: {err.decode(errors='backslashreplace').strip()}")
            return len(out)

    async def run() -> Figures:
        slots, size = asyncio.Semaphore(task["fanout"]), 0
        with _Masters(task) as options, Usage() as usage:
            for _ in range(rounds):
                size += sum(await asyncio.gather(*(one(options, host, slots) for host in task["hosts"])))
        return {**usage.figures, "bytes": size}

    return standard_loop(run)


def clustershell_run(task: dict[str, Any], rounds: int) -> Figures:
    """Measure ClusterShell's own engine, with `ssh` over open ControlMaster connections."""
    from ClusterShell.Task import task_self

    shell = task_self()
    shell.set_info("fanout", task["fanout"])
    with _Masters(task) as options:
        shell.set_info("ssh_options", " ".join(options))
        with Usage() as usage:
            for _ in range(rounds):
                shell.shell(task["command"], nodes=",".join(task["hosts"]))
                shell.resume()
                if shell.max_retcode() != 0:
                    raise RunFailed(f"clustershell: exit code {shell.max_retcode()}")
    return {**usage.figures, "bytes": 0}


class _Masters:
    """A ControlMaster per host while the block runs."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._stack = ExitStack()

    def __enter__(self) -> list[str]:
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sshfan-")))
        options = ["-F", self._task["config"], "-oBatchMode=yes", f"-oControlPath={directory}/%n"]
        for host in self._task["hosts"]:
            master = subprocess.Popen(["ssh", *options, "-N", "-M", host], stdin=subprocess.DEVNULL)
            self._stack.callback(master.wait)
            self._stack.callback(master.terminate)
        end = time.monotonic() + 120
        while not all((directory / host).exists() for host in self._task["hosts"]):
            if time.monotonic() > end:
                raise RunFailed("a ControlMaster did not start")
            time.sleep(0.05)
        return options

    def __exit__(self, *_: object) -> None:
        self._stack.close()
