"""Where a fleet's pool lives: in the running loop, or in a standard one in a thread of its own."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import wait
from typing import TYPE_CHECKING

from sshfan_async.engine.loops import LoopThread
from sshfan_async.process.uncancelled import complete

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from typing import Any

    from sshfan_async.fleet.pool import Pool
    from sshfan_async.fleet.settings import FleetSettings
    from sshfan_async.outcome import Outcome

__all__ = ["Home", "cannot_be_stopped"]


class Home:
    """Makes the pool of a fleet, and calls it in the pool's own loop."""

    def __init__(self, settings: FleetSettings) -> None:
        self.settings = settings
        self.pool: Pool | None = None
        self._thread: LoopThread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._process = 0
        self._left = False

    @property
    def is_in_another_process(self) -> bool:
        """Whether this is a fork of the process in which the fleet was opened: the pool's loop does not run here."""
        return self.pool is not None and os.getpid() != self._process

    def enter(self, *, here: bool) -> Pool:
        """Make the pool; `here`: in the running loop."""
        from sshfan_async.fleet.pool import Pool

        if self.pool is not None:
            raise RuntimeError("a fleet can be entered once: make another")
        self.pool, self._process = Pool(self.settings), os.getpid()
        if here:
            self._loop = asyncio.get_running_loop()
        else:
            self._thread = LoopThread("sshfan fleet").__enter__()
            self._loop = self._thread.loop
        return self.pool

    def leave(self) -> None:
        """End the thread."""
        self._left = True
        if self._thread is not None:
            self._thread.__exit__(None, None, None)

    def tell(self, function: Callable[..., object], *arguments: object) -> None:
        """Have `function` called in the pool's loop."""
        if self._thread is None:
            function(*arguments)
        else:
            self._thread.call(function, *arguments)

    async def finish(
        self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object, stop: Callable[[], object]
    ) -> None:
        """Await `function` in the pool's loop. A cancellation calls `stop` there, and is raised at the end."""
        if self._thread is None:
            if asyncio.get_running_loop() is not self._loop:
                raise RuntimeError(
                    "this fleet was opened in another event loop: open one in this loop, or a SyncFleet"
                )
            await complete(function(*arguments), on_cancel=stop)
        else:
            begun = asyncio.wrap_future(self.begin(function, *arguments))
            await complete(begun, on_cancel=lambda: self.tell(stop))

    def begin(self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> Future[None]:
        """Have `function` run by the loop in the thread."""
        if self._left:
            raise RuntimeError("this fleet is closed: run commands inside its `with` block")
        assert self._thread is not None
        return self._thread.start(function, *arguments)

    def wait_for(self, begun: Future[None], *, stop: Callable[[], object]) -> None:
        """Block until `begun` is done. Ctrl-C calls `stop` in the pool's loop, and is raised at the end."""
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
        """Return a function that the pool may call to have `emit` called in the running loop."""
        if self._thread is None:
            return emit
        loop = asyncio.get_running_loop()

        def emit_there(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(emit, outcome)

        return emit_there


def cannot_be_stopped() -> None:
    """No-op: closing a fleet cannot be interrupted."""
