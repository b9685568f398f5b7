"""Run ssh once for one target, enforce the clocks, and record how it ended."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from sshfan_async.engine.ended import (
    Ended,
    broken,
    concluded,
    not_run,
    remote_state,
    spawn_failed,
    stderr_tail,
    stopped,
    with_wrapper_note,
    without_diagnostics,
)
from sshfan_async.engine.timeouts import Timeouts
from sshfan_async.outcome import Phases, Status
from sshfan_async.process.argv import target_argv
from sshfan_async.process.child import Child
from sshfan_async.process.watchdog import Reports, new_secret
from sshfan_async.settings import OnStop
from sshfan_async.sshlog.log import SshLog
from sshfan_async.sshlog.stamps import phases

if TYPE_CHECKING:
    from sshfan_async.engine.context import RunContext
    from sshfan_async.engine.ended import Cause
    from sshfan_async.event import Stream
    from sshfan_async.outcome import Clock, Phase
    from sshfan_async.process.child import Listener
    from sshfan_async.sshlog.verdict import Verdict
    from sshfan_async.targets import Target

__all__ = ["Attempt"]

_MAX_AFTER_STOP = 4 * 1024 * 1024
"""Bytes: more than the pipes of a child that has exited can hold (pipe(7): 1 MiB each)."""


class Attempt:
    """One attempt at one target. `run` launches ssh and waits for its exit; `stop` ends it early.

    A clock or `stop` cancels the wait for the exit; the first one wins. Spawning and termination are never
    interrupted.
    """

    __slots__ = (
        "_cause",
        "_child",
        "_context",
        "_enqueued_at",
        "_left_to_pass",
        "_listener",
        "_started_at",
        "_timeouts",
        "_waiter",
        "ssh_log",
    )

    def __init__(self, context: RunContext, enqueued_at: float, listener: Listener) -> None:
        """`enqueued_at`: when the target was queued, in monotonic seconds."""
        self.ssh_log = SshLog(context.client.log_style, real=context.client.version is not None)
        self._context = context
        self._enqueued_at = enqueued_at
        self._listener = listener
        self._left_to_pass: int | None = None
        """Bytes of output that the consumer still gets while the attempt is ended; None before."""
        self._cause: Cause | None = None
        self._waiter: asyncio.Task[object] | None = None
        self._child: Child
        self._started_at: float
        self._timeouts: Timeouts

    async def run(self, target: Target) -> Ended | None:
        """Launch ssh for `target`, wait for its exit, and return how it ended.

        Failures and cancellations are returned too, not raised. Return None if it was stopped before the launch.
        """
        context = self._context
        self._waiter = asyncio.current_task()
        try:
            if not await context.gate.start(
                partial(self._launch, target),
                until=context.flow.deadline,
                short=partial(context.run_log.host_delayed, target),
            ):
                return None
        except asyncio.CancelledError:
            self._take_cancellation()
            return None
        except TimeoutError:
            return self._not_launched(not_run("deadline"), clock="deadline")
        except OSError as error:
            return self._not_launched(spawn_failed(error, context.run.ssh))
        finally:
            self._waiter = None
        context.gate.command_started()
        try:
            child = self._child
            self._watch()
            try:
                if self._cause is None:
                    await child.wait()
            except asyncio.CancelledError:
                self._take_cancellation()
            finally:
                self._waiter = None
                self._timeouts.cancel()
            self._leave_flow()
            if child.ended_at is None:
                stopped_at, phase = time.monotonic(), self.ssh_log.phase()
                await child.stop(context.run.clocks.kill_after)
                if child.stopped:
                    return self._conclude(stopped_at, self._stopped(stopped_at, phase))
        finally:
            context.gate.command_ended()
        assert child.ended_at is not None
        assert child.returncode is not None
        self._cause = None  # the child exited before it was signalled
        verdict = self.ssh_log.end(child.returncode, child.preamble + stderr_tail(child.stderr.value()))
        return self._conclude(child.ended_at, with_wrapper_note(verdict, child.reports))

    def _watch(self) -> None:
        """Arm the clocks, and let the consumer's pace hold the child back."""
        context = self._context
        self._timeouts = Timeouts(
            context.run.clocks, context.flow, context.timers, self._child.launched_at, self._interrupt
        )
        if self._cause is None:
            self._timeouts.arm(self._sent_at())
        if context.flow.followed:
            context.flow.add(self)
        self._waiter = asyncio.current_task()

    def _leave_flow(self) -> None:
        """Read output on while the attempt is ended, even if the consumer is behind; see `wrote`."""
        if self._context.flow.followed:
            self._context.flow.remove(self)
            self._left_to_pass = _MAX_AFTER_STOP
            self._child.resume()

    def _take_cancellation(self) -> None:
        """Note why the task was cancelled; our own cancellation ends here."""
        if self._cause is None:
            self._cause = "stop"
        elif self._waiter is not None:
            self._waiter.uncancel()

    async def broken(self, error: Exception) -> Ended:
        """End what an error of our own in `run` has left running; return how the attempt ended, without output.

        Before the launch, an error other than too little memory is raised: the next host would meet it too.
        """
        launched = hasattr(self, "_child")
        if not launched and not isinstance(error, MemoryError):
            raise error
        if launched and self._child.ended_at is None:
            await self._child.stop(self._context.run.clocks.kill_after)
        return broken(error, launched=launched, queued=time.monotonic() - self._enqueued_at)

    def stop(self) -> None:
        """End the attempt as `cancelled`, unless it has ended already."""
        self._interrupt("stop")

    def pause(self) -> None:
        """Stop reading output, and stop all clocks except `connect_timeout`."""
        self._child.pause()
        self._timeouts.arm(self._sent_at())

    def resume(self, paused_since: float) -> None:
        """Read output again, and restart the clocks."""
        self._child.resume()
        self._timeouts.resumed(paused_since, self._sent_at())

    def progressed(self, ssh_log: SshLog) -> None:
        """React to new lines in ssh's log: when the command was sent, arm the next clock."""
        self._timeouts.sent(self._sent_at())
        self._listener.progressed(ssh_log)

    @property
    def follows(self) -> bool:
        """Whether a consumer receives phases and output during the run."""
        return self._context.flow.followed

    def wrote(self, stream: Stream, data: bytes) -> None:
        """Pass on output of the command. While it is ended, nothing pauses it, so what is passed on has a limit."""
        if not self.follows:
            return
        if self._left_to_pass is not None:
            self._left_to_pass -= len(data)
            if self._left_to_pass < 0:
                return
        self._listener.wrote(stream, data)

    def _launch(self, target: Target) -> bool:
        """Spawn the child, unless the attempt was stopped."""
        if self._cause is not None:
            return False
        self._started_at = time.time()
        self._child = self._spawn(target)
        return True

    def _not_launched(self, verdict: Verdict, clock: Clock | None = None) -> Ended:
        return Ended(verdict=verdict, phases=Phases(queued=time.monotonic() - self._enqueued_at), clock=clock)

    def _spawn(self, target: Target) -> Child:
        context, run = self._context, self._context.run
        command, reports = run.command, None
        if context.wrapper is not None:
            reports = Reports(new_secret(), ends_with_input=run.on_stop is OnStop.ALWAYS)
            command = context.wrapper.text(reports.secret)
        pipe = context.log_pipes.open()
        return Child.spawn(
            context.executable,
            target_argv(context.common_argv, target, command, user=run.user, log_path=pipe.path),
            context.environment,
            ssh_log=self.ssh_log,
            log_pipe=pipe,
            readers=context.readers,
            timers=context.timers,
            null=context.null,
            source=context.source,
            reports=reports,
            store=context.store,
            max_output=run.limits.max_output,
            listener=self,
        )

    def _sent_at(self) -> float | None:
        """Return when the command was sent, in monotonic seconds; the launch, if the program writes no ssh log."""
        return self._child.launched_at if self.ssh_log.silent else self.ssh_log.sent_at

    def _interrupt(self, cause: Cause) -> None:
        if self._cause is None:
            self._cause = cause
            if self._waiter is not None:
                self._waiter.cancel()

    # the end

    def _stopped(self, stopped_at: float, phase: Phase) -> Verdict:
        child, ssh_log = self._child, self.ssh_log
        assert self._cause is not None
        assert child.returncode is not None
        # With a ControlMaster, the command may be sent before the log says so.
        sent = ssh_log.end(child.returncode, child.preamble).sent
        after = stopped_at - child.launched_at
        verdict = stopped(self._cause, self._context.run.clocks, after=after, phase=phase, sent=sent)
        accepted = ssh_log.stamps.accepted is not None or not ssh_log.logs_acceptance
        return with_wrapper_note(verdict, child.reports, accepted=accepted)

    def _conclude(self, ended_at: float, verdict: Verdict) -> Ended:
        child, ssh_log = self._child, self.ssh_log
        if not verdict.sent:
            # No command ran, so stderr holds only ssh's own messages, which the reason repeats.
            child.stdout.clear()
            child.stderr.clear()
        queued = child.launched_at - self._enqueued_at
        ended = concluded(
            verdict,
            phases=phases(ssh_log.stamps, child.launched_at, ended_at, queued),
            started_at=self._started_at,
            cause=self._cause,
            remote=remote_state(verdict, stopped=child.stopped, reports=child.reports, left=True),
            stdout=child.stdout,
            stderr=child.stderr,
            input_failure=child.input_failure,
            failure=self._failure(),
            peer=ssh_log.peer,
        )
        if verdict.status is not Status.LOST:
            return ended
        return ended._replace(stderr=without_diagnostics(ended.stderr, verdict))

    def _failure(self) -> str | None:
        """Return what failed here while the attempt ran, in words."""
        child = self._child
        if child.failure is not None:
            return f"internal error: {type(child.failure).__name__}: {child.failure}"
        if self._left_to_pass is not None and self._left_to_pass < 0 and not child.stopped:
            return f"{-self._left_to_pass} bytes of its output were not shown: they came while it was ended"
        return None
