"""The polling loop that `run()` replaces, rewritten from its description with its flaws.

It spawns one `ssh` per host with Popen and two pipes. Then it repeats: `poll()` each child, read the pipes of those
that have exited, sleep one second. A host that writes more than its pipe holds never finishes.
"""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["run"]

STATUS_SUCC = "success"
STATUS_FAIL = "fail"
_INTERVAL = 1.0


def run(
    hostname: str | Sequence[str],
    command: str,
    user: str | None = None,
    *,
    ssh: Sequence[str] = ("ssh",),
    on_launch: Callable[[str, float], None] | None = None,
    give_up_after: float | None = None,
) -> dict[str, Any]:
    """Run `command` on each host.

    The benchmark adds the keyword arguments. `ssh`: the command line of ssh. `on_launch`: called with each host and
    the time of its launch. `give_up_after`: seconds after which the remaining children are killed; their hosts are
    then missing from `result`.
    """
    hosts = [hostname] if isinstance(hostname, str) else list(hostname)
    began = time.time()
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    for host in hosts:
        destination = host if user is None else f"{user}@{host}"
        launched = time.time()
        process = subprocess.Popen([*ssh, destination, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        running[host] = process, launched
        if on_launch is not None:
            on_launch(host, launched)
    result: dict[str, dict[str, Any]] = {}
    while running:
        for host, (process, launched) in list(running.items()):
            if process.poll() is None:
                continue
            assert process.stdout is not None
            assert process.stderr is not None
            with process.stdout, process.stderr:
                result[host] = {
                    "out": process.stdout.read().decode(errors="surrogateescape"),
                    "err": process.stderr.read().decode(errors="surrogateescape"),
                    "status": STATUS_SUCC if process.returncode == 0 else STATUS_FAIL,
                    "delta_time": time.time() - launched,
                }
            del running[host]
        if not running:
            break
        if give_up_after is not None and time.time() - began > give_up_after:
            _kill(running)
            break
        time.sleep(_INTERVAL)
    return {"ts": time.time(), "cmd": command, "result": result}


def _kill(running: dict[str, tuple[subprocess.Popen[bytes], float]]) -> None:
    for process, _ in running.values():
        process.kill()
        process.communicate()
