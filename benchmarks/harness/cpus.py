"""Give the client and the server a CPU each, so that neither hides what the other costs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from benchmarks.harness.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cpus", "on_cpu"]


@dataclass(frozen=True, slots=True)
class Cpus:
    """The CPU of the client with all its children, and the CPU of the server."""

    client: int
    server: int

    @classmethod
    def choose(cls) -> Self:
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise Unavailable(
                "one CPU for the client and another one for the server are needed, but there is one only"
            )
        return cls(client=usable[-1], server=usable[0])


def on_cpu(cpu: int, argv: Sequence[str]) -> list[str]:
    """Return the command line that runs `argv` and all its children on one CPU."""
    return ["taskset", "--cpu-list", str(cpu), *argv]
