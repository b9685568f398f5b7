"""`FleetRun`: one command on some hosts of a fleet."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from sshfan_async.engine.ended import input_unreadable
from sshfan_async.fleet.command import HostCommand
from sshfan_async.loop.uncancelled import complete, wait_for_end
from sshfan_async.process.watchdog import Wrapper
from sshfan_async.settings import OnStop
from sshfan_async.stdio.capture import Store
from sshfan_async.stdio.source import open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.engine.ended import Cause
    from sshfan_async.engine.run import Run
    from sshfan_async.engine.run_log import RunLog
    from sshfan_async.fleet.host import FleetHost
    from sshfan_async.outcome import Outcome
    from sshfan_async.settings import Input
    from sshfan_async.stdio.source import Source

__all__ = ["FleetRun"]

_PER_TURN = 8
"""Commands to send in one turn of the loop, which takes well under a millisecond."""


class FleetRun:
    """One command on some hosts of a fleet."""

    source: Source | None = None
    store: Store

    def __init__(self, run: Run, emit: Callable[[Outcome], None]) -> None:
        self.run = run
        self.began = time.monotonic()
        self.ended: asyncio.Future[None]
        self._emit = emit
        self._commands: set[HostCommand] = set()
        self._stopped: Cause | None = None
        self._run_log: RunLog
        self._plain = os.fsencode(run.command)
        self._wrapper: Wrapper | None = None

    async def go(self, hosts: list[FleetHost], run_log: RunLog) -> None:
        """Submit the command to `hosts`; return when each has its outcome, even if the caller is cancelled.

        A cancellation ends the commands, and is raised at the end.
        """
        loop = asyncio.get_running_loop()
        self._run_log, self.ended = run_log, loop.create_future()
        self.store = Store(self.run.limits.memory)
        deadline = self.run.clocks.deadline
        timer = None if deadline is None else loop.call_later(deadline, self.stop, "deadline")
        try:
            commands = [HostCommand(self, host) for host in hosts]
            self._commands.update(commands)
            if self.run.stdin is not None:
                await complete(self._open_source(self.run.stdin), on_cancel=self.cancel)
            cancelled = await self._submit(commands, hosts)
            if self._commands:
                cancelled = await wait_for_end(self.ended, on_cancel=self.cancel) or cancelled
            if cancelled is not None:
                raise cancelled
        finally:
            if timer is not None:
                timer.cancel()
            if not self.ended.done():
                self.ended.set_result(None)
            if self.source is not None:
                self.source.close()
            self.store.close()

    async def _submit(self, commands: list[HostCommand], hosts: list[FleetHost]) -> asyncio.CancelledError | None:
        """Submit each command to its host, `_PER_TURN` in each turn of the loop. Return a cancellation."""
        cancelled = None
        for number, (command, host) in enumerate(zip(commands, hosts, strict=True), 1):
            if self._stopped is not None:
                command.stop(self._stopped)
            elif command in self._commands:
                host.queue.submit(command)
            if number % _PER_TURN == 0 and number < len(hosts) and self._stopped is None:
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError as error:
                    cancelled = error
                    self.cancel()
        return cancelled

    async def _open_source(self, given: Input) -> None:
        opening = asyncio.ensure_future(open_source(given))
        try:
            either: list[asyncio.Future[Any]] = [opening, self.ended]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                self.source = opening.result()
        except OSError as error:
            for command in list(self._commands):
                command.fail(input_unreadable(error))
        finally:
            opening.cancel()

    def stop(self, cause: Cause) -> None:
        """End every command that has not ended; `go` returns when that is done."""
        self._stopped = cause
        for command in list(self._commands):
            command.stop(cause)

    def cancel(self) -> None:
        """End the run early, at the caller's request."""
        self.stop("stop")

    def text(self, secret: str | None) -> bytes:
        """Return what the login shell gets; wrapped, if there is a `secret` for the watchdog."""
        if secret is None:
            return self._plain
        if self._wrapper is None:
            run = self.run
            size = None if self.source is None else self.source.size
            mode = OnStop.KILL if run.on_stop is OnStop.LEAVE else run.on_stop
            self._wrapper = Wrapper(run.command, on_stop=mode, grace=run.clocks.kill_after, stdin_size=size)
        return os.fsencode(self._wrapper.text(secret))

    def finish(self, command: HostCommand, outcome: Outcome) -> None:
        """Report the outcome of `command`, and end the run if it is the last one."""
        self._commands.discard(command)
        self._run_log.host_finished(outcome)
        self._emit(outcome)
        if not self._commands and not self.ended.done():
            self.ended.set_result(None)
