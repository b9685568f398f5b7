"""Run a fleet's pool in the running event loop, or in a standard one in a thread of its own."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import wait
from typing import TYPE_CHECKING

from sshfan_async.errors import FleetUnavailable
from sshfan_async.loop.loops import LoopThread
from sshfan_async.loop.uncancelled import complete

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from typing import Any

    from sshfan_async.fleet.pool import Pool
    from sshfan_async.fleet.run import FleetRun
    from sshfan_async.fleet.settings import FleetSettings
    from sshfan_async.outcome import Outcome

__all__ = ["Home", "cannot_be_stopped"]


class Home:
    """The event loop of a fleet's pool: creates the pool, and calls it in that loop from any other."""

    def __init__(self, settings: FleetSettings) -> None:
        self.settings = settings
        self.pool: Pool | None = None
        self._thread: LoopThread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._process = 0
        self._closed = False

    @property
    def is_in_another_process(self) -> bool:
        """Whether this process is a fork of the one that opened the fleet: the pool's loop does not run here."""
        return self.pool is not None and os.getpid() != self._process

    def enter(self, *, here: bool) -> Pool:
        """Create the pool: `here`, in the running loop, or in a new thread.

        Raises:
            RuntimeError: the fleet was entered before.
            FleetUnavailable: no thread can be started.

        """
        from sshfan_async.engine.ended import spawn_failed
        from sshfan_async.fleet.pool import Pool

        if self.pool is not None:
            raise RuntimeError("a fleet can be entered only once: create another one")
        if here:
            self._loop = asyncio.get_running_loop()
        else:
            try:
                self._thread = LoopThread("sshfan fleet").__enter__()
            except OSError as error:
                raise FleetUnavailable(spawn_failed(error, self.settings.ssh).reason) from None
            self._loop = self._thread.loop
        self.pool, self._process = Pool(self.settings), os.getpid()
        return self.pool

    def close(self) -> None:
        """End the thread, if there is one."""
        self._closed = True
        if self._thread is not None:
            self._thread.__exit__(None, None, None)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call `function` in the pool's loop."""
        if self._thread is None:
            function(*arguments)
        else:
            self._thread.call(function, *arguments)

    async def finish(
        self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object, stop: Callable[[], object]
    ) -> None:
        """Await `function` in the pool's loop. A cancellation calls `stop` there, and is raised at the end.

        Raises:
            RuntimeError: the pool uses another event loop than the running one, or is closed.

        """
        if self._thread is None:
            self._check_loop()
            await complete(function(*arguments), on_cancel=stop)
        else:
            running = asyncio.wrap_future(self.start(function, *arguments))
            await complete(running, on_cancel=lambda: self.call(stop))

    async def run(self, pool: Pool, run: FleetRun) -> None:
        """Await `pool.run(run)` in the pool's loop. It goes on if it is cancelled, so it needs no task of its own.

        Raises:
            RuntimeError: the pool uses another event loop than the running one, or is closed.

        """
        if self._thread is None:
            self._check_loop()
            await pool.run(run)
        else:
            await self.finish(pool.run, run, stop=run.cancel)

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this fleet was opened in another event loop: open one in this loop, or a SyncFleet")

    def start(self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> Future[None]:
        """Run `function` as a task of the loop in the thread.

        Raises:
            RuntimeError: the fleet is closed.

        """
        if self._closed:
            raise RuntimeError("this fleet is closed: run commands inside its `with` block")
        assert self._thread is not None
        return self._thread.start(function, *arguments)

    def wait_for(self, running: Future[None], *, stop: Callable[[], object]) -> None:
        """Block until `running` is done. Ctrl-C calls `stop` in the pool's loop, and is raised at the end."""
        interrupt: KeyboardInterrupt | None = None
        while not running.done():
            try:
                wait([running])
            except KeyboardInterrupt as error:
                interrupt = error
                self.call(stop)
        if interrupt is not None:
            raise interrupt
        running.result()

    def emitter(self, emit: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
        """Return a function for the pool's loop, which calls `emit` in the loop that is running now."""
        if self._thread is None:
            return emit
        loop = asyncio.get_running_loop()

        def emit_in_loop(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(emit, outcome)

        return emit_in_loop


def cannot_be_stopped() -> None:
    """No-op: closing a fleet cannot be interrupted."""
