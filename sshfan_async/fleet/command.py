"""One command on one host, from its turn to its outcome."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from sshfan_async.attempt import failed_here
from sshfan_async.outcome import Outcome, Phase, Phases, Status
from sshfan_async.settings import OnStop
from sshfan_async.sshlog import Ending
from sshfan_async.watchdog import Reports, kill_message

if TYPE_CHECKING:
    from concurrent.futures import Future

    from sshfan_async.capture import Capture, Spilled, Store
    from sshfan_async.events import Stream
    from sshfan_async.fleet.link import Link
    from sshfan_async.mux import Channel
    from sshfan_async.outcome import Clock, Remote
    from sshfan_async.settings import Run
    from sshfan_async.source import Source

__all__ = ["Cause", "CommandRun", "HostCommand"]

Cause: TypeAlias = "Clock | Literal['stop']"

_SLACK = 2.0
"""Seconds for our word to get there, and for the answer, beyond the grace."""
_CHUNK = 256 * 1024


class CommandRun(Protocol):
    """What the commands of one run share."""

    run: Run
    began: float
    source: Source | None
    store: Store

    def text(self, *, wrapped: bool) -> tuple[bytes, str | None]:
        """Return what the login shell gets, and the secret of the wrapping."""

    def finish(self, command: HostCommand, outcome: Outcome) -> None:
        """A command has its outcome."""


class HostCommand:
    """The receiver of a channel: it waits, opens, runs, ends. It has exactly one outcome; its channel may outlive it.

    A command that is to be ended gets TERM, and KILL after the grace: by the host where it is known to signal, else
    by the watchdog around it (`sshfan_async.watchdog`).
    """

    __slots__ = (
        "_answered",
        "_attempts",
        "_cause",
        "_channel",
        "_cut_short",
        "_ended",
        "_exit_code",
        "_given",
        "_input_failure",
        "_link",
        "_refusal",
        "_reports",
        "_run",
        "_sent_at",
        "_signal",
        "_started_at",
        "_stderr",
        "_stdout",
        "_stopped_at",
        "_timer",
    )

    def __init__(self, run: CommandRun, link: Link) -> None:
        self._run = run
        self._link = link
        self._attempts = 0
        self._channel: Channel | None = None
        self._sent_at: float | None = None
        self._started_at: float | None = None
        self._stopped_at = 0.0
        self._cause: Cause | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._exit_code: int | None = None
        self._signal: str | None = None
        self._refusal = ""
        self._answered = False
        self._reports: Reports | None = None
        self._given = 0
        self._cut_short = False
        """Whether the source has ended, or failed, before its size."""
        self._input_failure: OSError | None = None
        self._stdout: Capture | None = None
        self._stderr: Capture | None = None
        self._ended = False

    @property
    def has_ended(self) -> bool:
        """Whether it has its outcome: then it is not to be sent."""
        return self._ended

    # towards its end

    def begin(self, channel: Channel) -> None:
        """Use `channel`, open or to be opened: the command has its place."""
        self._attempts += 1
        self._channel = channel
        if channel.is_open:
            self._send()

    def fail(self, ending: Ending, clock: Clock | None = None) -> None:
        """End it before it was sent."""
        if not self._ended:
            self._conclude(ending, clock=clock)

    def stop(self, cause: Cause) -> None:
        """End it early: the remote command too, as far as `on_stop` says."""
        if self._ended or self._cause is not None:
            return
        self._cause, self._stopped_at = cause, time.monotonic()
        if self._sent_at is None:
            if self._channel is None:
                self._link.withdraw(self)
            self._conclude(self._stopped())
        elif self._run.run.on_stop is OnStop.LEAVE or not self._told():
            self._give_up()

    def _told(self) -> bool:
        """Tell the host, or the watchdog there, to end the command; whether anybody can hear that."""
        assert self._channel is not None
        grace = self._run.run.clocks.kill_after
        if self._reports is None:
            self._channel.signal("TERM")
            self._wait(grace, self._kill)
            return True
        source = self._run.source
        if self._reports.watched is False or (source is not None and self._given < source.size):
            return False
        word = kill_message(self._reports.secret)
        if self._channel.write(word) < len(word):
            return False
        self._wait(grace + _SLACK, self._give_up)
        return True

    def _kill(self) -> None:
        assert self._channel is not None
        self._channel.signal("KILL")
        self._wait(_SLACK, self._give_up)

    def _give_up(self) -> None:
        assert self._channel is not None
        self._channel.close()
        self._conclude(self._stopped())

    def _wait(self, seconds: float, then: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)  # type: ignore[arg-type]

    # what the channel tells

    def opened(self) -> None:
        """The session is there for the command."""
        self._link.opened(self)
        self._send()

    def _send(self) -> None:
        """Send the command, unless it has ended meanwhile."""
        channel, run = self._channel, self._run.run
        assert channel is not None
        if self._ended:
            channel.close()
            return
        wrapped = run.on_stop is OnStop.ALWAYS or (run.on_stop is OnStop.KILL and not self._link.takes_signals)
        text, secret = self._run.text(wrapped=wrapped)
        self._sent_at, self._started_at = time.monotonic(), time.time()
        channel.execute(text)
        if secret is not None:
            self._reports = Reports(secret)
        self.writable()
        if run.clocks.timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(run.clocks.timeout, self.stop, "timeout")

    def refused(self, reason: str) -> None:
        """The host opens no session now."""
        self._channel = None
        self._link.refused(self, reason)

    def answered(self, request: str, *, accepted: bool) -> None:
        """The host takes the command or not, or has signalled it or not."""
        assert self._channel is not None
        self._link.answered()
        if accepted or self._ended:
            return
        if request == "exec":
            self._refusal = "the host refused the command"
            self._channel.close()
        elif request == "signal" and self._exit_code is None and self._signal is None:
            self._refusal = "the host refuses to signal it"
            self._link.takes_signals = False
            self._give_up()

    def output(self, stream: Stream, data: bytes) -> None:
        """Keep what the command writes."""
        if self._ended:
            return
        if stream == "stdout":
            if self._stdout is None:
                self._stdout = self._run.store.capture(self._run.run.limits.max_output)
            self._hold(self._stdout, self._stdout.write(data))
        else:
            self._take_stderr(data)

    def _take_stderr(self, data: bytes) -> None:
        if self._reports is not None:
            data = self._reports.feed(data)
            if self._reports.watched is False:
                self.writable()
        self._keep_stderr(data)

    def _keep_stderr(self, data: bytes) -> None:
        if self._stderr is None:
            self._stderr = self._run.store.capture(self._run.run.limits.max_output)
        self._hold(self._stderr, self._stderr.write(data))

    def _hold(self, capture: Capture, written: Future[None] | None) -> None:
        """Grant the host nothing further until all that `capture` has got is in its file."""
        if written is not None:
            assert self._channel is not None
            loop, channel = asyncio.get_running_loop(), self._channel
            channel.hold()
            written.add_done_callback(lambda _: loop.call_soon_threadsafe(self._written, capture, channel))

    def _written(self, capture: Capture, channel: Channel) -> None:
        if self._ended:
            channel.release()
            return
        further = capture.flush()
        if further is None:
            channel.release()
        else:
            self._hold(capture, further)

    def writable(self) -> None:
        """Give the command more of its standard input; a watchdog hears us through what follows."""
        channel, source = self._channel, self._run.source
        assert channel is not None
        if source is not None and not self._ended and not self._cut_short:
            while self._given < source.size:
                data = self._next_input(source)
                if not data:
                    self._cut_short = True
                    break
                count = channel.write(data)
                if count == 0:
                    return
                self._given += count
        if self._reports is None or self._reports.watched is False or self._cut_short:
            channel.write_eof()

    def _next_input(self, source: Source) -> bytes | memoryview:
        try:
            return source.read_at(self._given, _CHUNK)
        except OSError as error:
            self._input_failure = error.with_traceback(None)
            return b""

    def exited(self, code: int) -> None:
        """The command has exited."""
        self._exit_code = code

    def signalled(self, name: str) -> None:
        """The command died of a signal."""
        self._signal = name

    def closed(self) -> None:
        """The channel is gone, and with it the command's outputs."""
        if not self._ended:
            self._conclude(self._stopped() if self._cause is not None else self._ending())
        self._channel = None  # which refers to us
        self._link.leave()

    def lost(self, reason: str) -> None:
        """The connection is gone. What was not sent goes over the next one."""
        self._channel = None
        self._link.leave()
        if self._ended:
            return
        if self._sent_at is not None:
            text = f"the connection was lost after the command was sent: {reason}"
            if self._cause is None:
                self._conclude(Ending(status=Status.LOST, sent=True, phase=Phase.RUN, reason=text))
            else:
                self._conclude(self._stopped())
        elif self._attempts <= self._run.run.limits.retries:
            self._link.again(self)
        else:
            text = f"the connection was lost before the command was sent: {reason}"
            self._conclude(Ending(status=Status.DROPPED, sent=False, phase=Phase.QUEUED, reason=text))

    # its outcome

    def _ending(self) -> Ending:
        if self._signal is not None:
            reason = f"the remote command was ended by signal {self._signal}"
            return Ending(status=Status.SIGNALLED, sent=True, phase=Phase.RUN, reason=reason)
        code = self._exit_code
        if code is None:
            reason = self._refusal or "the host closed the channel and gave no exit status"
            return Ending(status=Status.LOST, sent=True, phase=Phase.RUN, reason=reason)
        if code == 0:
            return Ending(status=Status.OK, sent=True, exit_code=0, phase=Phase.RUN, reason=self._note())
        reason = f"the command exited with {code}{self._note()}"
        return Ending(status=Status.FAILED, sent=True, exit_code=code, phase=Phase.RUN, reason=reason)

    def _note(self) -> str:
        if self._reports is None or self._reports.watched is not None:
            return ""
        return (
            "; the clean-up wrapper did not run there (a forced or restricted command?): on_stop='leave' sends none"
        )

    def _stopped(self) -> Ending:
        cause, clocks = self._cause, self._run.run.clocks
        phase = Phase.QUEUED if self._sent_at is None else Phase.RUN
        if cause == "timeout":
            status, reason = Status.TIMED_OUT, f"timed out after {clocks.timeout:.1f} s in {phase}"
        elif cause == "deadline":
            status, reason = Status.TIMED_OUT, f"the run's deadline of {clocks.deadline:.1f} s passed in {phase}"
        elif self._attempts == 0:
            return Ending(
                status=Status.NOT_RUN,
                sent=False,
                phase=phase,
                reason="never started: the run was stopped before this host's turn",
            )
        else:
            since = self._run.began if self._sent_at is None else self._sent_at
            status, reason = Status.CANCELLED, f"cancelled after {self._stopped_at - since:.1f} s in {phase}"
        if self._refusal:
            reason = f"{reason}; {self._refusal}, and it was left running"
        return Ending(status=status, sent=self._sent_at is not None, phase=phase, reason=reason)

    def _remote(self, ending: Ending) -> Remote:
        reports = self._reports
        if not ending.sent or self._signal is not None or self._exit_code is not None:
            return "ended"
        if self._cause is None:
            return "unknown"
        if reports is None:
            return "left" if self._refusal or self._run.run.on_stop is OnStop.LEAVE else "unknown"
        if reports.ended:
            return "ended"
        return "left" if reports.left or reports.watched is False else "unknown"

    def _conclude(self, ending: Ending, *, clock: Clock | None = None) -> None:
        now = time.monotonic()
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reports is not None and (held := self._reports.flush()):
            self._keep_stderr(held)
        sent_at = self._sent_at
        if sent_at is None:
            phases = Phases(queued=now - self._run.began)
        else:
            ended_at = now if self._cause is None else self._stopped_at
            phases = Phases(queued=sent_at - self._run.began, run=ended_at - sent_at)
        stdout, stdout_dropped, failure = _kept(self._stdout)
        stderr, stderr_dropped, failed_too = _kept(self._stderr)
        if failure is not None or failed_too is not None:
            error = failure or failed_too
            assert error is not None
            ending = failed_here(ending, f"its output cannot be kept: {error.strerror or error}")
        if self._input_failure is not None:
            why = self._input_failure.strerror or self._input_failure
            ending = failed_here(ending, f"its standard input cannot be read to its end: {why}")
        if clock is None and self._cause is not None and self._cause != "stop":
            clock = self._cause
        outcome = Outcome(
            target=self._link.target,
            host=self._link.name,
            status=ending.status,
            exit_code=ending.exit_code,
            signal=self._signal if ending.status is Status.SIGNALLED else None,
            phases=phases,
            started_at=self._started_at,
            attempts=self._attempts,
            sent=ending.sent,
            clock=clock,
            phase=ending.phase,
            remote=self._remote(ending),
            reason=ending.reason,
            stdout_dropped=stdout_dropped,
            stderr_dropped=stderr_dropped,
            stdout_kept=stdout,
            stderr_kept=stderr,
        )
        self._stdout = self._stderr = None
        self._run.finish(self, outcome)


def _kept(capture: Capture | None) -> tuple[bytes | Spilled, int, OSError | None]:
    if capture is None:
        return b"", 0, None
    value = capture.value()
    return value, capture.dropped, capture.failure
