"""Where a fleet lives: in the running loop, or on a standard one in a thread of its own."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import wait
from typing import TYPE_CHECKING

from sshfan_async.fleet.tasks import completed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from typing import Any

    from anyio.from_thread import BlockingPortal

    from sshfan_async.fleet.engine import Engine
    from sshfan_async.fleet.plan import Plan
    from sshfan_async.outcome import Outcome

__all__ = ["Home", "nothing"]


class Home:
    """Where an engine lives: in the running loop, or in a standard one in a thread of its own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.engine: Engine | None = None
        self._portal: AbstractContextManager[BlockingPortal] | None = None
        self._elsewhere: BlockingPortal
        self._loop: asyncio.AbstractEventLoop
        self._process = 0
        self._left = False

    @property
    def is_elsewhere(self) -> bool:
        """Whether we are a fork of the process in which the fleet was opened: its loop does not run here."""
        return self.engine is not None and os.getpid() != self._process

    def enter(self, *, here: bool) -> Engine:
        """Make the engine; `here`: in the running loop."""
        from sshfan_async.fleet.engine import Engine

        if self.engine is not None:
            raise RuntimeError("a fleet can be entered once: make another")
        self.engine, self._process = Engine(self.plan), os.getpid()
        if here:
            self._loop = asyncio.get_running_loop()
        else:
            from sshfan_async.running import standard_portal

            self._portal = standard_portal()
            self._elsewhere = self._portal.__enter__()
            self._loop = self._elsewhere.call(_running_loop)
        return self.engine

    def leave(self) -> None:
        """End the thread."""
        self._left = True
        if self._portal is not None:
            self._portal.__exit__(None, None, None)

    def abandon(self) -> None:
        """Let go of a thread that runs in another process.

        The portal is a generator, and the end of the interpreter would run it to its end, which waits for the thread:
        so it is kept for ever.
        """
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._portal))

    def tell(self, function: Callable[..., object], *arguments: object) -> None:
        """Have `function` called in the engine's loop."""
        if self._portal is None:
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)

    async def see_through(
        self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object, stop: Callable[[], object]
    ) -> None:
        """Await `function`, run by the engine's loop; a cancellation calls `stop` there, and goes on at its end."""
        if self._portal is None:
            if asyncio.get_running_loop() is not self._loop:
                raise RuntimeError(
                    "this fleet was opened in another event loop: open one in this loop, or a SyncFleet"
                )
            await completed(function(*arguments), on_cancel=stop)
        else:
            begun = asyncio.wrap_future(self.begin(function, *arguments))
            await completed(begun, on_cancel=lambda: self.tell(stop))

    def begin(self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> Future[None]:
        """Have `function` run by the loop in the thread."""
        if self._left:
            raise RuntimeError("this fleet is closed: run commands inside its `with` block")
        return self._elsewhere.start_task_soon(function, *arguments)

    def wait_for(self, begun: Future[None], *, stop: Callable[[], object]) -> None:
        """Block until what has begun has ended; Ctrl-C calls `stop` in the engine's loop, and is raised then."""
        interrupt: KeyboardInterrupt | None = None
        while not begun.done():
            try:
                wait([begun])
            except KeyboardInterrupt as error:
                interrupt = error
                self.tell(stop)
        if interrupt is not None:
            raise interrupt
        begun.result()

    def emitter(self, emit: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
        """Return what the engine may call to have `emit` called in the running loop."""
        if self._portal is None:
            return emit
        loop = asyncio.get_running_loop()

        def emit_there(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(emit, outcome)

        return emit_there


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def nothing() -> None:
    """What stops what cannot be stopped: the end of a fleet."""
