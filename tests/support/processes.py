"""Descriptors and processes, and how to wait for a condition without a guessed sleep."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 20.0
"""Seconds after which a condition that is still false is a failure."""
_STEP = 0.005


def descriptors() -> dict[str, str]:
    """Return the open descriptors of this process, each with its target."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of listdir itself
            continue
    return found


def children(parent: int | None = None) -> set[int]:
    """Return the ids of the processes, zombies included, whose parent is `parent` (this one)."""
    tasks = Path(f"/proc/{os.getpid() if parent is None else parent}/task")
    found: set[int] = set()
    # proc(5) lists the children of each thread. To read the whole process table would take milliseconds.
    for thread in os.listdir(tasks):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, (tasks / thread / "children").read_text().split()))
    return found


def servers(sshd: int) -> set[int]:
    """Return the ids of the processes that serve the connections to the listening `sshd`.

    With privilege separation each connection has two: a monitor, and its child, which talks to the client.
    """
    found: set[int] = set()
    generation = {sshd}
    while generation:
        generation = {child for parent in generation for child in _living_children(parent) if _is_sshd(child)}
        found |= generation
    return found


def signal_servers(sshd: int, number: signal.Signals) -> None:
    """Send `number` to all processes that serve the connections to the listening `sshd`; there must be one."""
    found = servers(sshd)
    assert found, "sshd serves no connection"
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def stop_servers(sshd: int) -> None:
    """Send SIGSTOP to all those processes, and wait until they are stopped."""
    signal_servers(sshd, signal.SIGSTOP)
    wait_until(lambda: {state(pid) for pid in servers(sshd)} <= {"T"}, "the servers to stop")


def _living_children(parent: int) -> set[int]:
    with contextlib.suppress(FileNotFoundError):  # the parent has ended
        return children(parent)
    return set()


def _is_sshd(pid: int) -> bool:
    """Tell whether `pid` is sshd, sshd-session or sshd-auth, not a command that it runs."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    return False


def session(leader: int) -> set[int]:
    """Return the ids of the running processes in the session of `leader`."""
    return {pid for pid, (state, sid) in _table().items() if sid == leader and state != "Z"}


def state(pid: int) -> str | None:
    """Return the state of `pid` as ps(1) writes it, or None if it does not exist."""
    found = _table().get(pid)
    return None if found is None else found[0]


def is_running(pid: int) -> bool:
    """Tell whether `pid` is running: a zombie is not."""
    return state(pid) not in (None, "Z")


def is_gone(pid: int) -> bool:
    """Tell whether `pid` does not exist: a zombie exists."""
    return not Path(f"/proc/{pid}").exists()


def name(pid: int) -> str:
    """Return the name of `pid`, empty if it does not exist."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _table() -> dict[int, tuple[str, int]]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                state, _, _, sid = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(entry)] = (state, int(sid))
    return found


def wait_until(condition: Callable[[], object], what: str = "") -> None:
    """Block until `condition` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what or condition}"
        time.sleep(_STEP)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what or condition}"
        await asyncio.sleep(_STEP)
