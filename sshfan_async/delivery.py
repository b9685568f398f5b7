"""A run in the background → what its caller asked for: a report, outcomes as they end, events as they happen."""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from sshfan_async.events import Event, HostFinished, HostOutput
from sshfan_async.outcome import Outcome
from sshfan_async.report import Report
from sshfan_async.running import Running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sshfan_async.settings import Run
    from sshfan_async.targets import Target

__all__ = ["all_outcomes", "happenings", "outcomes"]


async def all_outcomes(run: Run) -> Report:
    """Return the report once every target has its outcome."""
    found: dict[Target, Outcome] = {}

    def emit(event: Event) -> None:
        if isinstance(event, HostFinished):
            found[event.outcome.target] = event.outcome

    async with Running(run, emit) as running:
        await running.finished()
    return Report(tuple(found[target] for target in run.targets), finished_at=time.time())


@asynccontextmanager
async def outcomes(run: Run) -> AsyncIterator[AsyncIterator[Outcome]]:
    """Give each outcome as soon as it is there; leaving the block ends the run."""
    send, receive = anyio.create_memory_object_stream[Outcome](math.inf)

    def emit(event: Event) -> None:
        if isinstance(event, HostFinished):
            # The consumer may have closed its end, and stay in the block.
            with suppress(anyio.BrokenResourceError):
                send.send_nowait(event.outcome)

    with send, receive:
        async with Running(run, emit) as running:
            running.add_done_callback(send.close)
            yield receive


@asynccontextmanager
async def happenings(run: Run) -> AsyncIterator[AsyncIterator[Event]]:
    """Give the events as they happen; leaving the block ends the run."""
    waiting = _Happenings()
    async with Running(run, waiting.add, followed=True) as running:
        waiting.follow(running)
        yield waiting


_FULL = 1024 * 1024
"""Bytes of output on their way to the consumer of `events` from which the hosts are held back."""


class _Happenings:
    """The events on their way to their consumers, who share them; at most about `_FULL` bytes of output."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._size = 0
        self._held = False
        self._ended = False
        self._arrived = anyio.Event()
        self._running: Running | None = None

    def follow(self, running: Running) -> None:
        self._running = running
        running.add_done_callback(self._end)

    def _end(self) -> None:
        self._ended = True
        self._arrived.set()

    def add(self, event: Event) -> None:
        self._events.append(event)
        self._arrived.set()
        if isinstance(event, HostOutput):
            self._size += len(event.data)
            if self._size > _FULL and not self._held and self._running is not None:
                self._held = True
                self._running.hold()

    def __aiter__(self) -> _Happenings:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            if self._arrived.is_set():  # while it is not, other consumers may wait for it too
                self._arrived = anyio.Event()
            await self._arrived.wait()
        event = self._events.popleft()
        if isinstance(event, HostOutput):
            self._size -= len(event.data)
            if self._held and self._size <= _FULL // 2 and self._running is not None:
                self._held = False
                self._running.release()
        return event
