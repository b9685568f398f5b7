"""What does the wrapper of on_stop="kill" cost on a host, compared with the plain command?"""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.measure import Figures, Options, interleave
from benchmarks.harness.usage import Usage
from sshfan_async.process.watchdog import Wrapper, new_secret
from sshfan_async.settings import OnStop

if TYPE_CHECKING:
    from benchmarks.harness.results import Result

__all__ = ["run"]

_COMMANDS = 100
_MS = 1000.0
# The second command has characters that need more than single quotes, and two lines.
_SHAPES = {"a plain command": "true", "two lines with quotes": "true 'it'\n:"}


def run(options: Options, result: Result) -> None:
    count = 5 if options.quick else _COMMANDS
    for shape, command in _SHAPES.items():
        wrapped = Wrapper(command, on_stop=OnStop.KILL, grace=10, stdin_size=None).text(new_secret())
        contenders = {"plain": partial(_repeat, command, count), "wrapped": partial(_repeat, wrapped, count)}
        series = interleave(contenders, options, f"wrapper, {shape}")
        for key, about in (("cpu", "CPU"), ("wall", "time")):
            pairs = zip(series["wrapped"], series["plain"], strict=True)
            added = [_MS * (a[key] - b[key]) / count for a, b in pairs]
            result.add(f"{shape}: {about} that the wrapper adds on a host", added, "ms", at_most=3)


def _repeat(command: str, count: int) -> Figures:
    with Usage() as usage:
        for _ in range(count):
            # sshd runs a command in the same way: with the login shell, in a new session.
            subprocess.run(
                ["/bin/sh", "-c", command],
                check=True,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    return usage.figures
