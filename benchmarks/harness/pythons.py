"""The Python interpreters to measure: this one, and those of `--python`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Self

__all__ = ["Python"]

_DEPENDENCIES = "anyio, click, ClusterShell, rich, structlog"
_VERSION = f"import sys, {_DEPENDENCIES}; print(*sys.version_info[:2])"


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter that has sshfan's dependencies. It runs the sshfan of this checkout."""

    path: str
    version: tuple[int, int]

    @classmethod
    def current(cls) -> Self:
        return cls(sys.executable, sys.version_info[:2])

    @classmethod
    def at(cls, path: str) -> Self:
        """Return the interpreter `path`.

        Raises:
            ValueError: it cannot be started, or a dependency is missing there.

        """
        try:
            asked = subprocess.run([path, "-c", _VERSION], check=False, capture_output=True, text=True)
        except OSError as error:
            raise ValueError(f"{path!r} cannot be started: {error.strerror}") from None
        if asked.returncode != 0:
            said = (asked.stderr.strip().splitlines() or ["no message"])[-1]
            raise ValueError(f"{path!r} does not have sshfan's dependencies: {said}")
        major, minor = asked.stdout.split()
        return cls(path, (int(major), int(minor)))

    def __str__(self) -> str:
        return "Python {}.{}".format(*self.version)
