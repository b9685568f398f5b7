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
    """Run `run` on asyncio. On 3.11, children that asyncio watches have pidfds, as from 3.12 on, and no threads."""
    return in_loop(run, "asyncio")


def in_loop(run: Callable[[], Coroutine[Any, Any, Figures]], loop: str) -> Figures:
    # The pidfd watcher of 3.11 serves only the loop of the main thread. Under uvloop, ours runs in another thread.
    if sys.version_info < (3, 12) and loop == "asyncio":
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    factory: Any = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(run())
