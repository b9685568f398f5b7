"""Measure the time and memory that a block of code costs this process and its children."""

from __future__ import annotations

import contextlib
import resource
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.harness.measure import Figures

__all__ = ["Usage", "peak_memory"]


class Usage:
    """Measure a `with` block: `wall`, `own` and `cpu` (with reaped children) in seconds, `peak` in bytes."""

    def __enter__(self) -> Self:
        self._own, self._all = _processor_time()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        wall = time.perf_counter() - self._began
        own, everything = _processor_time()
        self.figures: Figures = {
            "wall": wall,
            "own": own - self._own,
            "cpu": everything - self._all,
            "peak": peak_memory(),
        }


def _processor_time() -> tuple[float, float]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime
    return seconds, seconds + children.ru_utime + children.ru_stime


def peak_memory(pid: int | str = "self") -> int:
    """Return the peak resident size of a process in bytes (proc(5): VmHWM), or 0 if it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
