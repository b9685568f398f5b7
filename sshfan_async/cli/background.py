"""A run in a thread of its own: a terminal or a pager may keep our output waiting, which must not hold up a run."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from sshfan_async.cli.process import watch_children
from sshfan_async.running import Running, standard_portal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from anyio.from_thread import BlockingPortal

    from sshfan_async.events import Event
    from sshfan_async.settings import Run

__all__ = ["BackgroundRun"]


class BackgroundRun:
    """The run goes on while the `with` block does; leaving it ends the run, and waits until all is reaped."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._portal: AbstractContextManager[BlockingPortal] = standard_portal()
        self._task: Future[None] | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        self._task = self._portal.__enter__().start_task_soon(self._go)
        if self._stopped:
            self._task.cancel()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._portal.__exit__(None, None, None)

    def stop(self) -> None:
        """End the run; its remaining events still come. Safe in a signal handler, at any time and repeatedly."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def batches(self, patience: float) -> Iterator[list[Event]]:
        """Yield the events as they come, all that are there; an empty list after `patience` seconds without."""
        ended = False
        while not ended:
            batch: list[Event] = []
            try:
                event = self._events.get(timeout=patience)
                while event is not None:
                    batch.append(event)
                    event = self._events.get_nowait()
                ended = True
            except queue.Empty:
                pass
            yield batch
        assert self._task is not None
        if not self._task.cancelled():
            self._task.result()

    async def _go(self) -> None:
        try:
            watch_children()
            async with Running(self._run, self._events.put) as running:
                await running.finished()
        finally:
            self._events.put(None)
