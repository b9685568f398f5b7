"""Run one command on one host of a fleet, from its session to its outcome."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sshfan_async.engine.ended import (
    channel_closed,
    concluded,
    connection_lost,
    not_run,
    remote_state,
    stopped,
    with_wrapper_note,
)
from sshfan_async.outcome import Phase, Phases
from sshfan_async.process import watchdog
from sshfan_async.process.watchdog import Reports, new_secret
from sshfan_async.settings import OnStop
from sshfan_async.stdio.capture import NOTHING, Capture
from sshfan_async.stdio.feed import Feed

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sshfan_async.engine.ended import Cause
    from sshfan_async.engine.run import Run
    from sshfan_async.event import Stream
    from sshfan_async.fleet.host import FleetHost
    from sshfan_async.fleet.sessions import Sessions
    from sshfan_async.loop.timers import Timer
    from sshfan_async.mux.channel import Channel
    from sshfan_async.outcome import Clock, Outcome
    from sshfan_async.sshlog.verdict import Verdict
    from sshfan_async.stdio.capture import Nothing, Store
    from sshfan_async.stdio.source import Source

__all__ = ["CommandRun", "HostCommand"]

_SLACK = 2.0
"""Seconds for a signal to arrive, and for the channel to close."""


class CommandRun(Protocol):
    """What the commands of one run share."""

    run: Run
    began: float
    source: Source | None
    store: Store

    def text(self, secret: str | None) -> bytes:
        """Return the text for the login shell; wrapped, if there is a `secret` for the watchdog."""

    def finish(self, command: HostCommand, outcome: Outcome) -> None:
        """Report the outcome of `command`."""


class HostCommand:
    """One command on one host: it waits for a session, is sent over a channel, and has exactly one outcome.

    To end the remote command, ask the host to signal it (TERM, then KILL after `kill_after` seconds), if the host is
    known to do so. Otherwise the watchdog that wraps the command ends it (`sshfan_async.process.watchdog`).
    """

    __slots__ = (
        "_accepted",
        "_attempts",
        "_cause",
        "_channel",
        "_ended",
        "_exit_code",
        "_feed",
        "_host",
        "_input_ended",
        "_refusal",
        "_reports",
        "_run",
        "_runs_on",
        "_sent_at",
        "_sessions",
        "_signal",
        "_started_at",
        "_stderr",
        "_stdout",
        "_stopped_at",
        "_timer",
        "_unreported",
    )

    def __init__(self, run: CommandRun, host: FleetHost) -> None:
        self._run = run
        self._host = host
        self._attempts = 0
        self._channel: Channel | None = None
        self._sessions: Sessions
        self._sent_at: float | None = None
        self._accepted = False
        self._started_at: float | None = None
        self._stopped_at = 0.0
        self._cause: Cause | None = None
        self._timer: Timer | None = None
        self._exit_code: int | None = None
        self._signal: str | None = None
        self._refusal = ""
        self._runs_on = False
        """Whether the host refused to signal the command."""
        self._unreported: Timer | None = None
        self._reports: Reports | None = None
        self._feed: Feed | None = None
        self._input_ended = False
        """Whether there is no watchdog that reads a kill request after the input."""
        self._stdout: Capture | Nothing = NOTHING
        self._stderr: Capture | Nothing = NOTHING
        self._ended = False

    @property
    def has_ended(self) -> bool:
        """Whether it has its outcome, and so must not be sent."""
        return self._ended

    # start and stop

    def begin(self, channel: Channel, sessions: Sessions) -> None:
        """Send the command over `channel`, when that is open."""
        self._attempts += 1
        self._channel, self._sessions = channel, sessions
        if channel.is_open:
            self._send()

    def fail(self, verdict: Verdict, clock: Clock | None = None) -> None:
        """Conclude with `verdict`: the command was not sent."""
        if not self._ended:
            self._conclude(verdict, clock)

    def stop(self, cause: Cause) -> None:
        """End it early because of `cause`. `on_stop` decides whether the remote command is ended too."""
        if self._ended or self._cause is not None:
            return
        self._cause, self._stopped_at = cause, time.monotonic()
        self._guard(self._end_early)

    def _end_early(self) -> None:
        if self._sent_at is None:
            self._host.queue.withdraw(self)
            self._abandon(self._stopped())
        elif self._run.run.on_stop is OnStop.LEAVE or not self._request_kill():
            self._give_up()

    def _request_kill(self) -> bool:
        """Ask the host, or the watchdog there, to end the command. Return False if no request can be sent."""
        assert self._channel is not None
        if self._reports is None:
            self._channel.signal("TERM")
            self._call_later(self._run.run.clocks.kill_after, self._kill)
            return True
        if self._reports.watched is None:
            self._call_later(watchdog.LATE_REPORT_SECONDS, self._request_late)
            return True
        return self._write_request(self._reports)

    def _request_late(self) -> None:
        """Request the kill if the watchdog has reported itself meanwhile; otherwise give up."""
        if self._reports is None or not self._write_request(self._reports):
            self._give_up()

    def _write_request(self, reports: Reports) -> bool:
        assert self._channel is not None
        if not reports.watched or (self._feed is not None and self._feed.has_more):
            return False
        request = reports.kill_request()
        if self._channel.write(request) < len(request):
            return False
        self._call_later(self._run.run.clocks.kill_after + watchdog.KILL_SLACK, self._give_up)
        return True

    def _kill(self) -> None:
        assert self._channel is not None
        self._channel.signal("KILL")
        self._call_later(_SLACK, self._give_up)

    def _give_up(self) -> None:
        assert self._channel is not None
        self._channel.close()
        self._abandon(self._stopped())

    def _abandon(self, verdict: Verdict) -> None:
        """Conclude, although the host may not have opened or closed the session."""
        self._conclude(verdict)
        if self._channel is not None:
            self._sessions.abandoned(self, self._run.run.clocks.kill_after)

    def _call_later(self, seconds: float, function: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._host.timers.call_later(seconds, partial(self._guard, function))

    def _guard(self, function: Callable[[], None]) -> None:
        """Call `function`, a step of the stop. An error of our own ends the stop, and reaches the outcome."""
        try:
            function()
        except Exception as error:
            self._refusal = f"internal error: {type(error).__name__}: {error}"
            self._give_up()

    # events of the channel

    def opened(self) -> None:
        """Send the command: the session is open."""
        self._sessions.opened(self)
        self._send()

    def _send(self) -> None:
        """Send the command, unless it has its outcome already."""
        channel, run = self._channel, self._run.run
        assert channel is not None
        if self._ended:
            channel.close()
            return
        if run.on_stop is OnStop.ALWAYS or (run.on_stop is OnStop.KILL and not self._host.takes_signals):
            self._reports = Reports(new_secret(), ends_with_input=run.on_stop is OnStop.ALWAYS)
        self._sent_at, self._started_at = time.monotonic(), time.time()
        channel.execute(self._run.text(None if self._reports is None else self._reports.secret))
        self._feed = None if self._run.source is None else Feed(self._run.source)
        self.writable()
        if run.clocks.timeout is not None:
            self._timer = self._host.timers.call_later(run.clocks.timeout, partial(self.stop, "timeout"))

    def refused(self, reason: str) -> None:
        """Report to the sessions that the host refused this one."""
        self._channel = None
        self._sessions.refused(self, reason)

    def answered(self, request: str, *, accepted: bool) -> None:
        """React to the host's reply to the command or to a signal."""
        assert self._channel is not None
        self._sessions.answered()
        if self._ended:
            return
        if accepted:
            self._accepted = self._accepted or request == "exec"
            if request == "exec" and self._reports is not None and not self._reports.ends_with_input:
                self._unreported = self._host.timers.call_later(watchdog.REPORT_SECONDS, self._give_up_watchdog)
            return
        if request == "exec":
            self._refusal = "the host refused the command"
            self._channel.close()
            self._abandon(self._verdict())
        elif request == "signal" and self._exit_code is None and self._signal is None:
            self._refusal = "the host refused to signal it, and it was left running"
            self._runs_on = True
            self._host.takes_signals = False
            self._give_up()

    def _give_up_watchdog(self) -> None:
        """End the input if no watchdog has reported itself: a forced command may wait for that."""
        self._unreported = None
        if self._reports is not None and self._reports.watched is None and self._channel is not None:
            self._input_ended = True
            self._channel.write_eof()

    def output(self, stream: Stream, data: bytes) -> None:
        """Store output of the command."""
        if self._ended:
            return
        if stream == "stdout":
            if not isinstance(self._stdout, Capture):
                self._stdout = self._run.store.capture(self._run.run.limits.max_output)
            self._pause_until(self._stdout, self._stdout.write(data))
            return
        if self._reports is not None:
            data = self._reports.feed(data)
            if self._reports.watched is False:
                self.writable()
            if self._reports.ended:  # another process may hold the output open
                self._call_later(watchdog.EXIT_SECONDS, self._give_up)
        self._keep_stderr(data)

    def _keep_stderr(self, data: bytes) -> None:
        if not isinstance(self._stderr, Capture):
            self._stderr = self._run.store.capture(self._run.run.limits.max_output)
        self._pause_until(self._stderr, self._stderr.write(data))

    def _pause_until(self, capture: Capture, written: Future[None] | None) -> None:
        """Pause the channel until all data of `capture` is in its file. `written`: the write under way."""
        if written is not None:
            assert self._channel is not None
            loop, channel = asyncio.get_running_loop(), self._channel
            channel.pause()
            written.add_done_callback(lambda _: loop.call_soon_threadsafe(self._written, capture, channel))

    def _written(self, capture: Capture, channel: Channel) -> None:
        further = None if self._ended else capture.flush()
        if further is None:
            channel.resume()
        else:
            self._pause_until(capture, further)

    def writable(self) -> None:
        """Send more of the standard input. A watchdog gets no EOF after it: it reads the kill request there."""
        channel, feed = self._channel, self._feed
        assert channel is not None
        if feed is not None and not self._ended and not self._input_ended:
            if not feed.send(channel.write):
                return
            self._input_ended = feed.is_cut
        if self._reports is None or self._reports.watched is False or self._input_ended:
            channel.write_eof()

    def exited(self, code: int) -> None:
        """Note the exit code of the command."""
        self._exit_code = code

    def signalled(self, name: str) -> None:
        """Note the signal that ended the command."""
        self._signal = name

    def closed(self) -> None:
        """Conclude: the channel is closed, and no more output can come."""
        if not self._ended:
            self._conclude(self._verdict())
        self._channel = None  # the channel refers to us: break the cycle
        self._sessions.channel_gone(self)

    def lost(self, reason: str) -> None:
        """Conclude: the connection is gone. If the command was not sent, queue it for the next connection."""
        self._channel = None
        self._sessions.channel_gone(self)
        if self._ended:
            return
        if self._sent_at is not None:
            self._conclude(connection_lost(reason, sent=True) if self._cause is None else self._stopped())
        elif self._attempts <= self._run.run.limits.retries:
            self._host.queue.resubmit(self)
        else:
            self._conclude(connection_lost(reason, sent=False))

    # the end

    def _verdict(self) -> Verdict:
        if self._cause is not None:
            return self._stopped()
        return channel_closed(self._exit_code, self._signal, self._refusal, self._reports)

    def _stopped(self) -> Verdict:
        """Return the verdict on a command that we stopped."""
        assert self._cause is not None
        if self._attempts == 0 and self._cause == "stop":
            return not_run(None)
        sent_at = self._sent_at
        verdict = stopped(
            self._cause,
            self._run.run.clocks,
            after=self._stopped_at - (self._run.began if sent_at is None else sent_at),
            phase=Phase.QUEUED if sent_at is None else Phase.RUN,
            sent=sent_at is not None,
            note=self._refusal if sent_at is not None else self._host.queue.waits_for(self._channel),
        )
        return with_wrapper_note(verdict, self._reports, accepted=self._accepted)

    def _phases(self) -> Phases:
        now, sent_at = time.monotonic(), self._sent_at
        if sent_at is None:
            return Phases(queued=now - self._run.began)
        ended_at = now if self._cause is None else self._stopped_at
        return Phases(queued=sent_at - self._run.began, run=ended_at - sent_at)

    def _conclude(self, verdict: Verdict, clock: Clock | None = None) -> None:
        phases = self._phases()
        self._ended = True
        for timer in (self._timer, self._unreported):
            if timer is not None:
                timer.cancel()
        self._timer = None
        if self._reports is not None and (remaining := self._reports.flush()):
            self._keep_stderr(remaining)
        ended = concluded(
            verdict,
            phases=phases,
            started_at=self._started_at,
            cause=self._cause if clock is None else clock,
            remote=remote_state(
                verdict,
                # After a signal, an exit status does not say what became of the other processes of the command.
                exited=self._cause is None and (self._signal is not None or self._exit_code is not None),
                stopped=self._cause is not None,
                reports=self._reports,
                left=self._runs_on or self._run.run.on_stop is OnStop.LEAVE,
            ),
            stdout=self._stdout,
            stderr=self._stderr,
            input_failure=None if self._feed is None else self._feed.failure,
            signal=self._signal,
        )
        self._stdout = self._stderr = NOTHING
        self._run.finish(self, ended.outcome(self._host.target, self._host.name, self._attempts))
