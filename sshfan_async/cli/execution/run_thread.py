"""Run in a thread, so that a terminal or pager that blocks our output does not delay the run's time limits."""

from __future__ import annotations

import contextlib
import queue
from importlib import import_module
from typing import TYPE_CHECKING

from sshfan_async.cli.execution.rollout import Rollout, Rules
from sshfan_async.event import HostFinished, HostOutput, HostPhase
from sshfan_async.loop.loops import LoopThread
from sshfan_async.process.client import find_program, identify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from sshfan_async.engine.run import Run
    from sshfan_async.engine.supervisor import Supervisor
    from sshfan_async.event import Event, Stream

__all__ = ["RunThread"]

_ENGINE = "sshfan_async.engine.supervisor"

_MOST_QUEUED = 8 * 1024 * 1024
"""Bytes of queued output at which the run pauses. It resumes at a quarter of this."""


class RunThread:
    """Runs during its `with` block. The end of the block stops the run and waits until all children are reaped."""

    def __init__(self, run: Run, rules: Rules, streams: frozenset[Stream], *, phases: bool) -> None:
        """`streams` are the streams whose output `events` yields; with `phases`, it yields phases too."""
        self._run = run
        self._rules = rules
        self._streams = streams
        self._phases = phases
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = LoopThread("sshfan run")
        self._result: Future[None] | None = None
        """None if the thread cannot be started."""
        self._supervisor: Supervisor | None = None
        self._rollout: Rollout | None = None
        self._stopped = False
        self._paused = False
        # Each is written by one thread only: the loop's thread, and the thread that calls `events`.
        self._emitted_bytes = 0
        self._shown_bytes = 0

    def __enter__(self) -> Self:
        try:
            self._thread.__enter__()
        except OSError as error:
            from sshfan_async.engine.supervisor import refuse

            refuse(self._run, self._queue.put, error)
            self._queue.put(None)
        else:
            self._result = self._thread.start(self._supervise)
            self._result.add_done_callback(lambda _: self._queue.put(None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self._result is not None:
            self._thread.__exit__(kind, error, traceback)

    @property
    def ended_by(self) -> str | None:
        """The rule that has ended the run early, or None."""
        return None if self._rollout is None else self._rollout.ended_by

    def stop(self) -> None:
        """Stop the run; its remaining events still arrive. Safe in a signal handler, at any time, and repeatedly."""
        self._stopped = True
        if self._supervisor is not None:
            self._call(self._supervisor.stop)

    def events(self, timeout: float) -> Iterator[list[Event]]:
        """Yield lists of the events so far, until the run ends; an empty list after `timeout` seconds without events.

        A request for the next list means that the output of the last list has been shown.
        """
        ended = False
        while not ended:
            events: list[Event] = []
            try:
                event = self._queue.get(timeout=timeout)
                while event is not None:
                    events.append(event)
                    event = self._queue.get_nowait()
                ended = True
            except queue.Empty:
                pass
            yield events
            self._shown_bytes += sum(len(event.data) for event in events if isinstance(event, HostOutput))
            if self._paused and self._emitted_bytes - self._shown_bytes <= _MOST_QUEUED // 4:
                self._call(self._resume)
        if self._result is not None:
            self._result.result()

    def remaining(self) -> list[Event]:
        """Return the events that `events` has not yielded. Call this after the `with` block."""
        events: list[Event] = []
        while not self._queue.empty():
            event = self._queue.get_nowait()
            if event is not None:
                events.append(event)
        return events

    async def _supervise(self) -> None:
        # Nothing else waits in this loop while the engine is imported: 25 ms, in which `ssh -V` answers.
        with contextlib.suppress(OSError):  # the supervisor will find it too, and report it
            await identify(find_program(self._run.ssh), lambda: import_module(_ENGINE))
        from sshfan_async.engine.supervisor import Supervisor

        self._rollout = Rollout(self._rules, len(self._run.targets), self._fanout())
        supervisor = Supervisor(self._run, self._emit, followed=True, limiter=self._rollout.limiter)
        self._supervisor = supervisor
        if self._stopped:
            supervisor.stop()
        await supervisor.run()

    def _fanout(self) -> int:
        fanout = self._run.limits.fanout
        assert isinstance(fanout, int)  # the command line always has one
        return fanout

    def _emit(self, event: Event) -> None:
        if isinstance(event, HostOutput):
            if event.stream not in self._streams:
                return
            self._emitted_bytes += len(event.data)
            if not self._paused and self._emitted_bytes - self._shown_bytes > _MOST_QUEUED:
                self._paused = True
                assert self._supervisor is not None
                self._supervisor.pause()
        elif isinstance(event, HostPhase):
            if not self._phases:
                return
        elif isinstance(event, HostFinished):
            assert self._rollout is not None
            assert self._supervisor is not None
            self._rollout.note(event.outcome, self._supervisor)
        self._queue.put(event)

    def _resume(self) -> None:
        if self._paused and self._supervisor is not None:
            self._paused = False
            self._supervisor.resume()

    def _call(self, function: Callable[[], None]) -> None:
        """Call `function` in the run's loop. If the loop has ended, the run has too, and this does nothing."""
        with contextlib.suppress(RuntimeError):
            self._thread.call(function)
