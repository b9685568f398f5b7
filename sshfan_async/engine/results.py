"""Turn the events of a run into what the caller asked for: a report, a stream of outcomes, or a stream of events."""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from sshfan_async.engine.run_task import RunTask
from sshfan_async.event import Event, HostFinished, HostOutput
from sshfan_async.outcome import Outcome
from sshfan_async.packed import PackedOutcomes, pack
from sshfan_async.report import Report
from sshfan_async.targets import Targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sshfan_async.engine.run import Run
    from sshfan_async.packed import Packed

__all__ = ["all_outcomes", "stream_events", "stream_outcomes"]


async def all_outcomes(run: Run) -> Report:
    """Run all targets and return the report."""
    targets = run.targets
    assert isinstance(targets, Targets)  # those of `checked_run`
    found: dict[str, Packed] = dict.fromkeys(targets.texts, b"")

    def emit(event: Event) -> None:
        if isinstance(event, HostFinished):
            found[str(event.outcome.target)] = pack(event.outcome)

    async with RunTask(run, emit) as task:
        await task.finished()
    return Report(PackedOutcomes(targets, tuple(found.values())), finished_at=time.time())


@asynccontextmanager
async def stream_outcomes(run: Run) -> AsyncIterator[AsyncIterator[Outcome]]:
    """Yield each outcome when its host has ended. Leaving the block ends the run."""
    send, receive = anyio.create_memory_object_stream[Outcome](math.inf)

    def emit(event: Event) -> None:
        if isinstance(event, HostFinished):
            # The consumer may have closed its end inside the block.
            with suppress(anyio.BrokenResourceError):
                send.send_nowait(event.outcome)

    with send, receive:
        async with RunTask(run, emit) as task:
            task.add_done_callback(send.close)
            yield receive


@asynccontextmanager
async def stream_events(run: Run) -> AsyncIterator[AsyncIterator[Event]]:
    """Yield each event of the run. Leaving the block ends the run."""
    queue = _EventQueue()
    async with RunTask(run, queue.add, followed=True) as task:
        queue.attach(task)
        try:
            yield queue
        finally:
            queue.leave()


_FULL = 1024 * 1024
"""Bytes of queued output above which the hosts are paused."""


class _EventQueue:
    """A queue of events. Each event goes to one consumer. The hosts are paused above `_FULL` bytes of output."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._size = 0
        self._paused = False
        self._ended = False
        self._left = False
        self._arrived = anyio.Event()
        self._task: RunTask | None = None

    def attach(self, task: RunTask) -> None:
        self._task = task
        task.add_done_callback(self._end)

    def _end(self) -> None:
        self._ended = True
        self._arrived.set()

    def leave(self) -> None:
        """Keep no more output: the consumer has left the block."""
        self._left = True

    def add(self, event: Event) -> None:
        if self._left and isinstance(event, HostOutput):
            return
        self._events.append(event)
        self._arrived.set()
        if isinstance(event, HostOutput):
            self._size += len(event.data)
            if self._size > _FULL and not self._paused and self._task is not None:
                self._paused = True
                self._task.pause()

    def __aiter__(self) -> _EventQueue:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            if self._arrived.is_set():  # otherwise keep it: other consumers may be waiting for it
                self._arrived = anyio.Event()
            await self._arrived.wait()
        event = self._events.popleft()
        if isinstance(event, HostOutput):
            self._size -= len(event.data)
            if self._paused and self._size <= _FULL // 2 and self._task is not None:
                self._paused = False
                self._task.resume()
        return event
