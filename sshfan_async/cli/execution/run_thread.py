"""A run in a thread of its own: a terminal or a pager that keeps our output waiting must not stall its clocks."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING

from sshfan_async.cli.execution.own_process import watch_children
from sshfan_async.cli.execution.rollout import Rollout, Rules
from sshfan_async.engine.loops import LoopThread
from sshfan_async.engine.supervisor import Supervisor
from sshfan_async.event import HostFinished, HostOutput, HostPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from sshfan_async.engine.run import Run
    from sshfan_async.event import Event, Stream

__all__ = ["RunThread"]

_FULL = 8 * 1024 * 1024
"""Bytes of output that wait to be shown from which the hosts are held back; at a quarter of it they go on."""


class RunThread:
    """The run goes on while the `with` block does; leaving it ends the run, and waits until all is reaped."""

    def __init__(self, run: Run, rules: Rules, streams: frozenset[Stream], *, phases: bool) -> None:
        """`streams`: the outputs that `batches` is to tell of; `phases`: whether of phases too."""
        self._run = run
        self._rules = rules
        self._streams = streams
        self._phases = phases
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = LoopThread("sshfan run")
        self._result: Future[None]
        self._supervisor: Supervisor | None = None
        self._rollout: Rollout | None = None
        self._stopped = False
        self._paused = False
        # Each is written by one thread only: the loop's, and that of `batches`.
        self._told = 0
        self._shown = 0

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._result = self._thread.start(self._go)
        self._result.add_done_callback(lambda _: self._events.put(None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.__exit__(kind, error, traceback)

    @property
    def ended_by(self) -> str | None:
        """The rule that has ended the run early."""
        return None if self._rollout is None else self._rollout.ended_by

    def stop(self) -> None:
        """End the run; its remaining events still come. Safe in a signal handler, at any time and repeatedly."""
        self._stopped = True
        if self._supervisor is not None:
            self._call(self._supervisor.stop)

    def batches(self, patience: float) -> Iterator[list[Event]]:
        """Yield the events as they come, all that are there; an empty list after `patience` seconds without.

        To ask for the next list says that the one before is shown.
        """
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
            self._shown += sum(len(event.data) for event in batch if isinstance(event, HostOutput))
            if self._paused and self._told - self._shown <= _FULL // 4:
                self._call(self._resume)
        self._result.result()

    async def _go(self) -> None:
        watch_children()
        self._rollout = Rollout(self._rules, len(self._run.targets), self._fanout())
        supervisor = Supervisor(self._run, self._emit, followed=True, limiter=self._rollout.limiter)
        self._supervisor = supervisor
        if self._stopped:
            supervisor.stop()
        await supervisor.run()

    def _fanout(self) -> int:
        fanout = self._run.limits.fanout
        assert isinstance(fanout, int)  # that of the command line
        return fanout

    def _emit(self, event: Event) -> None:
        if isinstance(event, HostOutput):
            if event.stream not in self._streams:
                return
            self._told += len(event.data)
            if not self._paused and self._told - self._shown > _FULL:
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
        self._events.put(event)

    def _resume(self) -> None:
        if self._paused and self._supervisor is not None:
            self._paused = False
            self._supervisor.resume()

    def _call(self, function: Callable[[], None]) -> None:
        """Have `function` called in the run's loop; if the loop has ended, the run has too."""
        with contextlib.suppress(RuntimeError):
            self._thread.call(function)
