"""One `ssh` child, from the spawn until it is reaped: its pipes, its log and its exit.

The child gets the write ends of our own pipes. asyncio's own pipe transports report an exit only when every pipe is
closed, and a grandchild can delay that (python/cpython#119710).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import time
from typing import TYPE_CHECKING, Protocol

from sshfan_async.loop.uncancelled import wait_for_end
from sshfan_async.outcome import Phase
from sshfan_async.process.exits import Exit, start_watched
from sshfan_async.process.pipes import CHUNK, DEFAULT_SIZE, available, enlarge, open_pipe, read, readable_bytes
from sshfan_async.process.watchdog import EXIT_SECONDS, KILL_SLACK, LATE_REPORT_SECONDS, REPORT_SECONDS
from sshfan_async.stdio.capture import NOTHING, Capture, Nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from sshfan_async.event import Stream
    from sshfan_async.loop.timers import Timer, Timers
    from sshfan_async.process.log_pipe import LogPipe
    from sshfan_async.process.readers import Readers
    from sshfan_async.process.watchdog import Reports
    from sshfan_async.sshlog.log import SshLog
    from sshfan_async.stdio.capture import Store
    from sshfan_async.stdio.source import Source

__all__ = ["DESCRIPTORS", "Child", "Listener"]

DESCRIPTORS = 5
"""Descriptors of this process that a running child uses: two outputs, two of its log pipe, and the loop's pidfd."""

_PREAMBLE = 8 * 1024

_SECOND_TERM = 0.2
"""Seconds after which a child that still runs gets a second TERM."""


class Listener(Protocol):
    """Receives the output and the progress of a child, or of an attempt, while it runs."""

    @property
    def follows(self) -> bool:
        """Whether it wants all output, and each piece of the log."""
        ...

    def progressed(self, ssh_log: SshLog) -> None:
        """The log has grown. Without `follows`, this is called only when `SshLog.feed` returns True."""
        ...

    def wrote(self, stream: Stream, data: bytes) -> None:
        """The command has written `data`."""
        ...


class Child:
    """A running `ssh`, and its output so far. Call `spawn`, then await `wait` or `stop`."""

    __slots__ = (
        "_exit",
        "_exit_waiters",
        "_listener",
        "_log_pipe",
        "_loop",
        "_max_output",
        "_news",
        "_paused",
        "_readers",
        "_source",
        "_stderr",
        "_stdin",
        "_stdin_at",
        "_stdout",
        "_store",
        "_timers",
        "_unreported",
        "ended_at",
        "failure",
        "input_failure",
        "launched_at",
        "preamble",
        "reports",
        "returncode",
        "ssh_log",
        "stderr",
        "stdout",
        "stopped",
    )

    def __init__(self, ssh_log: SshLog, store: Store, max_output: int | None, listener: Listener) -> None:
        self.ssh_log = ssh_log
        self.stdout: Capture | Nothing = NOTHING
        self.stderr: Capture | Nothing = NOTHING
        self.preamble = b""
        """The last bytes on stderr from before the log shows that the command was sent.

        They are messages of ssh and of its jump host's ssh. If ssh writes no log, the command's may be among them.
        """
        self._store = store
        self._max_output = max_output
        self._listener = listener
        self._paused = False
        self._exit_waiters: list[asyncio.Future[None]] = []
        self.launched_at = 0.0
        self.ended_at: float | None = None
        """Monotonic seconds at which the exit was seen."""
        self.returncode: int | None = None
        self.reports: Reports | None = None
        """What the watchdog of a wrapped command reports; None for a command that is sent as it is."""
        self.input_failure: OSError | None = None
        """Why the command got only part of its standard input."""
        self.failure: Exception | None = None
        """An error of our own while the child ran."""
        self.stopped = False
        """Whether we sent the kill request, or signalled the child, while it lived."""
        self._news: asyncio.Future[None] | None = None
        """Done at the next report of the watchdog, and at the exit; only while `stop` waits."""
        self._unreported: Timer | None = None
        self._stdin_at = 0
        self._loop: asyncio.AbstractEventLoop
        self._exit: Exit
        self._readers: Readers
        self._timers: Timers
        self._log_pipe: LogPipe
        self._source: Source | None
        self._stdin: int
        self._stdout: int
        self._stderr: int

    @classmethod
    def spawn(
        cls,
        executable: str,
        argv: Sequence[str],
        environment: Mapping[bytes, bytes] | None,
        *,
        ssh_log: SshLog,
        log_pipe: LogPipe,
        readers: Readers,
        timers: Timers,
        null: int,
        source: Source | None,
        reports: Reports | None,
        store: Store,
        max_output: int | None,
        listener: Listener,
    ) -> Child:
        """Start `executable` with the arguments `argv` in a session of its own, and begin to read its pipes.

        `environment`: None to inherit ours. `log_pipe`: the new object closes it. `null`: the standard input of a
        child that gets none, as a descriptor of the null device or DEVNULL. `reports`: the watchdog's, if the command
        is wrapped (`sshfan_async.process.watchdog`); the standard input then stays open for the kill request.
        `store`: keeps at most `max_output` bytes of each output, or all if that is None.

        Raises:
            OSError: the program cannot be started, or there are no descriptors or processes left.

        """
        self = cls(ssh_log, store, max_output, listener)
        self._loop = asyncio.get_running_loop()
        self._readers = readers
        self._timers = timers
        self._log_pipe = log_pipe
        self._source = source
        self.reports = reports
        ours: list[int] = []
        theirs: list[int] = []
        try:
            self._stdout, stdout_end = open_pipe(ours, theirs)
            self._stderr, stderr_end = open_pipe(ours, theirs)
            stdin, self._stdin = null, -1
            if source is not None or reports is not None:
                self._stdin, stdin = open_pipe(ours, theirs, reading=False)
            self.launched_at = time.monotonic()
            # In a session of their own, ssh and the ssh of a ProxyJump get no Ctrl-C and no prompt from the terminal.
            # They are one process group, which can be signalled.
            self._exit = start_watched(
                readers,
                self._finish,
                *argv,
                executable=executable,
                stdin=stdin,
                stdout=stdout_end,
                stderr=stderr_end,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            log_pipe.close()
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._readers.add(self._stdout, self)
        self._readers.add(self._stderr, self)
        self._readers.add(self._log_pipe.read_end, self)
        if self._source is not None:
            self._loop.add_writer(self._stdin, self._write_stdin)
        return self

    def pause(self) -> None:
        """Stop reading output, which then stays in the pipes and on the host."""
        self._paused = True
        self._readers.remove(self._stdout)
        self._readers.remove(self._stderr)

    def resume(self) -> None:
        """Start to read output again."""
        self._paused = False
        if self.ended_at is None:
            self._readers.add(self._stdout, self)
            self._readers.add(self._stderr, self)

    @property
    def pid(self) -> int:
        """The process id, which is also that of its session and process group."""
        return self._exit.pid

    def _finish(self, returncode: int) -> None:
        """Note the time of the exit, drain the pipes, and wake who waits."""
        self.ended_at = time.monotonic()
        self.returncode = returncode
        try:
            self._drain()
        except Exception as error:
            self.failure = self.failure or error.with_traceback(None)
        finally:
            self._stop_reading()
            self._close()
        self._notify()
        for waiter in self._exit_waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> int:
        """Wait for the exit, with which the pipes are drained; return the code, negative for a signal."""
        while self.returncode is None:
            waiter = self._loop.create_future()
            self._exit_waiters.append(waiter)
            try:
                await waiter
            finally:
                self._exit_waiters.remove(waiter)
        return self.returncode

    async def stop(self, grace: float) -> int:
        """Kill the remote command if a watchdog can, then the child; return as `wait` does.

        A watchdog that has reported gets the kill request first, and has `grace` seconds between its own TERM and
        KILL. One that has not reported gets a second to do so. Then the child and its process group get TERM, and
        after `grace` seconds KILL. Returns only when the child is reaped, even if the calling task is cancelled.
        """
        if self.ended_at is None:
            self._read_log()  # the command may have been sent just now
        reports = self.reports
        if reports is not None and await self._has_watchdog(reports) and self._request_kill(reports):
            await self._until(lambda: reports.ended or reports.left, grace + KILL_SLACK)
            if reports.ended:
                await self._until_exit(EXIT_SECONDS)
        if self.ended_at is None:
            await self._terminate(grace)
        if self.ended_at is None:
            self._signal(signal.SIGKILL)
            await self._until_exit(None)
        # A ProxyCommand in its process group may have outlived it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        assert self.returncode is not None
        return self.returncode

    async def _has_watchdog(self, reports: Reports) -> bool:
        """Return whether a watchdog can read a kill request; wait for its first report if it may come."""
        if self._stdin < 0 or not self.ssh_log.may_be_sent or self.ssh_log.phase() is Phase.CLOSE:
            return False  # in CLOSE, command and watchdog have ended, and another process holds the outputs open
        await self._until(lambda: reports.watched is not None, LATE_REPORT_SECONDS)
        if reports.watched is None:
            self._close_stdin()
        return reports.watched is True and self._stdin >= 0

    async def _terminate(self, grace: float) -> None:
        """Send TERM to the process group, and wait at most `grace` seconds for the child's exit.

        Before 9.6, ssh checks for a signal and then waits for its connection (clientloop.c: client_loop;
        openssh-portable a612b93de). A signal between the two is not seen until the connection wakes ssh. So ssh
        itself gets a second TERM.
        """
        self._signal(signal.SIGTERM)
        await self._until_exit(min(grace, _SECOND_TERM))
        if self.ended_at is None and grace > _SECOND_TERM:
            with contextlib.suppress(ProcessLookupError):
                if not self._exit.has_happened():
                    os.kill(self.pid, signal.SIGTERM)
            await self._until_exit(grace - _SECOND_TERM)

    async def _until_exit(self, seconds: float | None) -> None:
        """Wait for the exit for at most `seconds`, None for as long as it takes, even if the caller is cancelled."""
        await self._until(lambda: False, seconds)

    async def _until(self, condition: Callable[[], bool], seconds: float | None) -> None:
        """Wait for `condition`, which a report of the watchdog can make true, or for the exit, as `_until_exit`."""
        give_up = math.inf if seconds is None else time.monotonic() + seconds
        while self.ended_at is None and not condition() and (left := give_up - time.monotonic()) > 0:
            self._news = self._loop.create_future()
            await wait_for_end(self._news, seconds=None if left == math.inf else left)
            self._news = None

    def _notify(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _request_kill(self, reports: Reports) -> bool:
        """Send the kill request; return False if the watchdog cannot read it behind unread standard input."""
        if not self._is_input_sent():
            return False
        try:
            os.write(self._stdin, reports.kill_request())
        except OSError:
            return False
        self.stopped = True
        return True

    def _signal(self, number: signal.Signals) -> None:
        # Until the child is reaped, its process id cannot belong to another process.
        if not self._exit.has_happened():
            self.stopped = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def read_ready(self, descriptor: int) -> None:
        """Read one of the pipes. An error of our own ends the child, and reaches its outcome."""
        try:
            self._read(descriptor)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error.with_traceback(None)
        self._stop_reading()
        self._signal(signal.SIGTERM)

    def _read(self, descriptor: int) -> None:
        if descriptor == self._log_pipe.read_end:
            if not self._read_log():
                self._end_of(descriptor)
            return
        stdout = self.stdout
        if (
            descriptor == self._stdout
            and isinstance(stdout, Capture)
            and stdout.spilling
            and not self._listener.follows
        ):
            count = readable_bytes(descriptor)
            if count > 0:
                moved = stdout.move(descriptor, count)
                if moved is not None:
                    self._pause_until(descriptor, moved)
                return
        # FIONREAD costs 1 us. A large buffer that stays nearly empty costs 12 us: its memory comes from the kernel.
        data = read(descriptor, min(max(readable_bytes(descriptor), 1), CHUNK))
        if data is None:
            return
        if data == b"":
            self._end_of(descriptor)
            return
        written = self._keep_stdout(data) if descriptor == self._stdout else self._sort_stderr(data)
        if written is not None:
            self._pause_until(descriptor, written)
        if len(data) == DEFAULT_SIZE:
            enlarge(descriptor)

    def _end_of(self, descriptor: int) -> None:
        """Stop watching a pipe that has ended, as it does when ssh exits."""
        self._readers.remove(descriptor)
        self._exit.has_happened()

    def _read_log(self) -> bool:
        """Read the log as far as it is written; return False if it has ended."""
        data = read(self._log_pipe.read_end, DEFAULT_SIZE)
        if data:
            self._log_pipe.close_write_end()
            self._feed_log(data)
        return data != b""

    def _feed_log(self, data: bytes) -> None:
        if self.ssh_log.feed(data, time.monotonic()) or self._listener.follows:
            self._listener.progressed(self.ssh_log)
            if self._unreported is None and self._awaits_report() and self.ssh_log.sent_at is not None:
                self._unreported = self._timers.call_later(REPORT_SECONDS, self._give_up_watchdog)

    def _awaits_report(self) -> bool:
        reports = self.reports
        return reports is not None and reports.watched is None and reports.ends_with_input is False

    def _give_up_watchdog(self) -> None:
        """End the input if no watchdog has reported itself: a forced command may wait for that."""
        self._unreported = None
        if self.ended_at is not None or not self._awaits_report():
            return
        accepted_at = self.ssh_log.stamps.accepted
        left = REPORT_SECONDS if accepted_at is None else accepted_at + REPORT_SECONDS - time.monotonic()
        if readable_bytes(self._stderr) > 0:
            left = REPORT_SECONDS  # the report may be among the bytes that are not read yet
        elif self.ssh_log.logs_acceptance is False:
            left = 0.0
        if left > 0:
            self._unreported = self._timers.call_later(left, self._give_up_watchdog)
        elif self._is_input_sent():
            self._close_stdin()

    def _stop_reading(self) -> None:
        for descriptor in (self._stdout, self._stderr, self._log_pipe.read_end):
            self._readers.remove(descriptor)

    def _pause_until(self, descriptor: int, written: Future[None]) -> None:
        """Do not read the pipe until its last data is written to the file."""

        def resume() -> None:
            if self.ended_at is None and not self._paused:
                self._readers.add(descriptor, self)

        self._readers.remove(descriptor)
        written.add_done_callback(lambda _: self._loop.call_soon_threadsafe(resume))

    def _keep_stdout(self, data: bytes) -> Future[None] | None:
        self._listener.wrote("stdout", data)
        if isinstance(self.stdout, Nothing):
            self.stdout = self._store.capture(self._max_output)
        return self.stdout.write(data)

    def _sort_stderr(self, data: bytes) -> Future[None] | None:
        # ssh logs that it sends the command before the command can write. If the log, read after `data`, does not
        # show that yet, `data` is not the command's: it is a banner, or a message of ssh or of a jump host's ssh.
        if self.ssh_log.sent_at is None:
            self._read_log()
        if self.ssh_log.sent_at is None:
            self.preamble = (self.preamble + data)[-_PREAMBLE:]
            if not self.ssh_log.silent:
                return None
        if self.reports is not None:
            data = self.reports.feed(data)
            if self._unreported is not None and self.reports.watched is not None:
                self._unreported.cancel()
            if self.reports.watched is False and self._is_input_sent():
                self._close_stdin()
            self._notify()
        return self._keep_stderr(data)

    def _keep_stderr(self, data: bytes) -> Future[None] | None:
        if data == b"":
            return None
        self._listener.wrote("stderr", data)
        if isinstance(self.stderr, Nothing):
            self.stderr = self._store.capture(self._max_output)
        return self.stderr.write(data)

    def _is_input_sent(self) -> bool:
        """Whether all of the command's standard input has been written to ssh."""
        return self._source is None or self._stdin_at >= self._source.size

    def _write_stdin(self) -> None:
        try:
            self._write_input()
        except Exception as error:
            self._loop.remove_writer(self._stdin)
            self._fail(error)

    def _write_input(self) -> None:
        try:
            if not self._is_input_sent():
                data = self._next_input()
                if not data:
                    self._close_stdin()  # the file has shrunk, and this is its end
                    return
                self._stdin_at += os.write(self._stdin, data)
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._close_stdin()  # ssh has closed its end: a command need not read its input
            return
        if self._is_input_sent():
            self._loop.remove_writer(self._stdin)
            # A watchdog reads the kill request from the same pipe.
            if self.reports is None or self.reports.watched is False:
                self._close_stdin()

    def _next_input(self) -> bytes | memoryview:
        assert self._source is not None
        try:
            return self._source.read_at(self._stdin_at, CHUNK)
        except OSError as error:
            self.input_failure = error.with_traceback(None)
            return b""

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def _drain(self) -> None:
        """Read the bytes that are in the pipes now, and no more: another process may go on writing to them."""
        for data in available(self._log_pipe.read_end):
            self._feed_log(data)
        for data in available(self._stderr):
            self._sort_stderr(data)
        if self.reports is not None:
            self._keep_stderr(self.reports.flush())
        self.stdout.drain()
        for data in available(self._stdout):
            self._keep_stdout(data)

    def _close(self) -> None:
        if self._unreported is not None:
            self._unreported.cancel()
        os.close(self._stdout)
        os.close(self._stderr)
        self._log_pipe.close()
        self._close_stdin()
