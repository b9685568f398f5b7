"""The real program as a subprocess, and its environment in tests."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import sshfan_async

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from sshfan_async.testing import SshdFleet

LIMIT = 40.0
PROGRAM = [sys.executable, "-m", "sshfan_async"]


class Sshfan(Protocol):
    """`sshfan(*arguments)`: the real program, run to its end without a terminal."""

    def __call__(self, *arguments: str, env: Mapping[str, str] = ...) -> subprocess.CompletedProcess[bytes]: ...


PRELOADED = [
    f"sshfan_async.cli.{module}"
    for module in (
        "arguments.to_run",
        "display.console",
        "display.display",
        "display.gather",
        "display.progress",
        "display.summary",
        "execution.execute",
        "main",
        "verbs.run",
    )
]


def run_main(arguments: Sequence[str], env: Mapping[str, str], out: str, err: str) -> None:
    """Run the program in this process, which must be a child without a terminal."""
    from sshfan_async.cli.main import main

    os.environ.clear()
    os.environ.update(env)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, opened in enumerate((os.open(os.devnull, os.O_RDONLY), os.open(out, flags), os.open(err, flags))):
        os.dup2(opened, number)
        os.close(opened)
    sys.exit(main(arguments))


class Start(Protocol):
    def __call__(self, *arguments: str, before: Sequence[str] = ...) -> subprocess.Popen[bytes]: ...


def environment(**more: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**inherited, "PYTHONPATH": str(Path(sshfan_async.__file__).parent.parent), **more}


class Doorbell:
    """A FIFO: remote commands ring it by `echo > {bell}`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR)  # we also hold a writer: no end of file between two rings

    def __str__(self) -> str:
        return str(self._path)

    def wait(self, rings: int = 1) -> None:
        deadline = time.monotonic() + LIMIT
        while rings > 0:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the remote command has not begun"
            rings -= len(os.read(self._descriptor, rings))

    def close(self) -> None:
        os.close(self._descriptor)


def ssh_children(fleet: SshdFleet) -> list[int]:
    """Return the ids of the running ssh clients of the fleet."""
    wanted = os.fsencode(fleet.ssh_config)
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(arguments[0])).name == "ssh" and wanted in arguments:
            found.append(int(directory.name))
    return found
