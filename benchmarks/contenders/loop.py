"""Run a contender's coroutine in an event loop."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from benchmarks.harness.measure import Figures

__all__ = ["in_loop", "standard_loop"]


def standard_loop(run: Callable[[], Coroutine[Any, Any, Figures]]) -> Figures:
    """Run `run` as this package's own processes do: on 3.11 too with pidfds in place of a thread per child."""
    return in_loop(run, "asyncio", "pidfd")


def in_loop(run: Callable[[], Coroutine[Any, Any, Figures]], loop: str, watcher: str) -> Figures:
    # 3.11's watcher with pidfds serves one loop only, that of the main thread: under uvloop it cannot serve ours.
    if sys.version_info < (3, 12) and watcher == "pidfd" and loop == "asyncio":
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    factory: Any = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(run())
