"""One `ssh` child, from spawn to reaped: its pipes, its log, its exit stamp, its end.

The only module that starts a program. Exit is seen when it happens: the child gets the write ends of our own pipes,
because asyncio's own transports report an exit only when every pipe is closed, which a grandchild can delay
(python/cpython#119710).
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import fcntl
import math
import os
import signal
import termios
import time
import types
from typing import TYPE_CHECKING, Any, Protocol

from sshfan_async.capture import NOTHING, Capture, Nothing
from sshfan_async.launch import Client
from sshfan_async.outcome import Phase
from sshfan_async.watchdog import Reports, kill_message

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Mapping, Sequence
    from concurrent.futures import Future

    from sshfan_async.capture import Store
    from sshfan_async.events import Stream
    from sshfan_async.logpipe import LogPipe
    from sshfan_async.readers import Readers
    from sshfan_async.source import Source
    from sshfan_async.sshlog import SshLog

__all__ = ["DESCRIPTORS", "Child", "Listener", "ask_client"]

DESCRIPTORS = 5
"""Descriptors of ours that a child takes while it lives: two outputs, two of its log pipe, and the loop's pidfd."""

_CHUNK = 256 * 1024
_PIPE_SIZE = 1024 * 1024
_DEFAULT_PIPE = 64 * 1024
_PREAMBLE = 8 * 1024

_AGAIN = 0.2
"""Seconds after which a child that has not ended gets a second TERM."""

_WATCHDOG_SLACK = 2.0
"""Seconds for our word to get there, and for the watchdog's answer, beyond its grace."""


class Listener(Protocol):
    """Who follows a child while it runs."""

    @property
    def follows(self) -> bool:
        """Whether it wants to be told of all that comes: what the command writes, and each piece of the log."""
        ...

    def progressed(self) -> None:
        """The log has moved on; told to who does not follow only where `SshLog.feed` says so."""
        ...

    def wrote(self, stream: Stream, data: bytes) -> None:
        """The command has written `data`."""
        ...


class Child:
    """A running `ssh`, and what it has said so far. `begin` and `made` come first, and `wait` or `stop` ends it."""

    __slots__ = (
        "_exit_seen_at",
        "_held",
        "_listener",
        "_log_pipe",
        "_loop",
        "_making",
        "_max_output",
        "_process",
        "_readers",
        "_source",
        "_stderr",
        "_stdin",
        "_stdin_at",
        "_stdout",
        "_store",
        "_theirs",
        "ended_at",
        "input_failure",
        "launched_at",
        "log",
        "preamble",
        "reports",
        "returncode",
        "stderr",
        "stdout",
        "stopped",
    )

    def __init__(self, log: SshLog, store: Store, max_output: int | None, listener: Listener) -> None:
        self.log = log
        self.stdout: Capture | Nothing = NOTHING
        self.stderr: Capture | Nothing = NOTHING
        self.preamble = b""
        """The end of what stood on stderr before the command was sent: ssh's words and its jump host's."""
        self._store = store
        self._max_output = max_output
        self._listener = listener
        self._held = False
        self._exit_seen_at: float | None = None
        self.launched_at = 0.0
        self.ended_at: float | None = None
        """Monotonic seconds at which the exit was seen."""
        self.returncode: int | None = None
        self.reports: Reports | None = None
        """What a wrapped command's watchdog says; None for a command that is sent as it is."""
        self.input_failure: OSError | None = None
        """Why the command got only a part of its standard input."""
        self.stopped = False
        """Whether we told the watchdog, or signalled the child, while it lived."""
        self._stdin_at = 0
        self._loop: asyncio.AbstractEventLoop
        self._making: _Making | None
        self._theirs: list[int]
        self._process: asyncio.subprocess.Process
        self._readers: Readers
        self._log_pipe: LogPipe
        self._source: Source | None
        self._stdin: int
        self._stdout: int
        self._stderr: int

    @classmethod
    def begin(
        cls,
        executable: str,
        argv: Sequence[str],
        environment: Mapping[bytes, bytes] | None,
        *,
        log: SshLog,
        log_pipe: LogPipe,
        readers: Readers,
        null: int,
        source: Source | None,
        secret: str | None,
        store: Store,
        max_output: int | None,
        listener: Listener,
    ) -> Child:
        """Start `executable` in a session of its own, as `argv` says; `made` is due next.

        `environment`: None for our own. `log_pipe` is the child's from here on. `null`: the standard input of a child
        that gets none, a descriptor of the null device, or DEVNULL. `secret`: that of the wrapped command
        (`sshfan_async.watchdog`), whose standard input stays open for our word; None for a command that is sent as it
        is. `store` keeps at most `max_output` bytes of each output, None for all.

        Raises:
            OSError: the program cannot be started, or there are no descriptors or processes left.

        """
        self = cls(log, store, max_output, listener)
        self._loop = asyncio.get_running_loop()
        self._readers = readers
        self._log_pipe = log_pipe
        self._source = source
        if secret is not None:
            self.reports = Reports(secret)
        ours: list[int] = []
        theirs: list[int] = []
        try:
            self._stdout, stdout_end = _pipe(ours, theirs)
            self._stderr, stderr_end = _pipe(ours, theirs)
            stdin, self._stdin = null, -1
            if source is not None or secret is not None:
                self._stdin, stdin = _pipe(ours, theirs, reading=False)
            self.launched_at = time.monotonic()
            # A session of its own keeps the terminal's Ctrl-C and /dev/tty prompts away from it and from what it
            # starts (a ProxyJump's ssh), and makes it a process group that can be signalled whole.
            self._making = _Making(
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
            for descriptor in (*ours, *theirs):
                os.close(descriptor)
            raise
        self._theirs = theirs
        return self

    async def made(self) -> None:
        """Wait until asyncio watches the child, and read all it writes from now on. A cancellation ends the child."""
        assert self._making is not None
        try:
            self._process = await self._making.process()
        except BaseException:
            self._close()
            raise
        finally:
            for descriptor in self._theirs:
                os.close(descriptor)
            self._making = None
            self._theirs = []
        self._readers.add(self._stdout, self)
        self._readers.add(self._stderr, self)
        self._readers.add(self._log_pipe.read_end, self)
        if self._source is not None:
            self._loop.add_writer(self._stdin, self._write_stdin)

    def hold(self) -> None:
        """Read no further output: it waits in the pipes, and at the host."""
        self._held = True
        self._readers.remove(self._stdout)
        self._readers.remove(self._stderr)

    def release(self) -> None:
        """Read on."""
        self._held = False
        if self.ended_at is None:
            self._readers.add(self._stdout, self)
            self._readers.add(self._stderr, self)

    @property
    def pid(self) -> int:
        """The process id, which is also that of its session and process group."""
        return self._process.pid

    def exited(self) -> Coroutine[Any, Any, int]:
        """Wait for the exit: whoever has done so calls `finish` next."""
        return self._process.wait()

    def finish(self, returncode: int) -> None:
        """Stamp the exit, and take in what is left in the pipes; harmless where that is done."""
        if self.ended_at is None:
            self.ended_at = time.monotonic() if self._exit_seen_at is None else self._exit_seen_at
            self.returncode = returncode
            self._drain()

    async def wait(self) -> int:
        """Wait for the exit and finish; return the code, negative for a signal."""
        returncode = await self.exited()
        self.finish(returncode)
        return returncode

    async def stop(self, grace: float) -> int:
        """End the child, and the remote command where a watchdog can; return as `wait` does.

        The watchdog is told first, and gets `grace` seconds between its own TERM and KILL. Then the child and all of
        its process group get TERM, and after `grace` seconds KILL. Returns only when the child is reaped, however
        often the calling task is cancelled meanwhile.
        """
        if self._tell_watchdog():
            await self._reaped(grace + _WATCHDOG_SLACK)
        if self.ended_at is None:
            await self._terminate(grace)
        if self.ended_at is None:
            self._signal(signal.SIGKILL)
            await self._reaped(None)
        # What it had started in its group, a ProxyCommand say, may have outlived it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        assert self.returncode is not None
        return self.returncode

    async def _terminate(self, grace: float) -> None:
        """Send TERM to the process group and wait for the child's end, for at most `grace` seconds.

        Before 9.6 ssh looks whether a signal has come and then begins to wait for its connection (clientloop.c:
        client_loop; openssh-portable a612b93de): one that comes in between is not seen until something else happens.
        So ssh, but not what it has started, gets a second one.
        """
        self._signal(signal.SIGTERM)
        await self._reaped(min(grace, _AGAIN))
        if self.ended_at is None and grace > _AGAIN:
            with contextlib.suppress(ProcessLookupError):
                if not self._has_exited():
                    os.kill(self.pid, signal.SIGTERM)
            await self._reaped(grace - _AGAIN)

    async def _reaped(self, patience: float | None) -> None:
        """Wait for the exit for at most `patience` seconds, whoever cancels us: the child comes first."""
        waiting = asyncio.ensure_future(self.wait())
        give_up = math.inf if patience is None else time.monotonic() + patience
        while not waiting.done() and (left := give_up - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([waiting], timeout=None if left == math.inf else left)
        waiting.cancel()

    def _tell_watchdog(self) -> bool:
        """Send our word, where a watchdog may hear it: after the command is sent, and its standard input whole."""
        if self.reports is None or self.log.sent_at is None or self._stdin < 0:
            return False
        if self.log.phase() is Phase.CLOSE:
            return False  # the command has ended, and the watchdog with it: something else holds the outputs open
        if self._source is not None and self._stdin_at < self._source.size:
            return False
        try:
            os.write(self._stdin, kill_message(self.reports.secret))
        except OSError:
            return False
        self.stopped = True
        return True

    def _signal(self, number: signal.Signals) -> None:
        # Not Process.send_signal: it polls waitpid behind the child watcher's back and loses the exit code. While the
        # child is not reaped, the number is surely still its own.
        if not self._has_exited():
            self.stopped = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def read_ready(self, descriptor: int) -> None:
        """Read what one of the pipes holds."""
        if descriptor == self._log_pipe.read_end:
            self._read_log()
            return
        stdout = self.stdout
        if (
            descriptor == self._stdout
            and isinstance(stdout, Capture)
            and stdout.in_file
            and not self._listener.follows
        ):
            held = _held(descriptor)
            if held > 0:
                moved = stdout.move(descriptor, held)
                if moved is not None:
                    self._pause(descriptor, moved)
                return
        # To ask costs 1 us, room for a large chunk that is not there 12: the allocator fetches it from the kernel.
        data = _read(descriptor, min(max(_held(descriptor), 1), _CHUNK))
        if data is None:
            return
        if data == b"":
            self._readers.remove(descriptor)
            self._look_for_exit()
            return
        written = self._take_stdout(data) if descriptor == self._stdout else self._take_stderr(data)
        if written is not None:
            self._pause(descriptor, written)
        if len(data) == _DEFAULT_PIPE:
            _enlarge(descriptor)

    def _read_log(self) -> None:
        data = _read(self._log_pipe.read_end, _DEFAULT_PIPE)
        if data == b"":
            self._readers.remove(self._log_pipe.read_end)
            self._look_for_exit()
        elif data is not None:
            self._log_pipe.close_write_end()
            self._feed_log(data)

    def _feed_log(self, data: bytes) -> None:
        if self.log.feed(data, time.monotonic()) or self._listener.follows:
            self._listener.progressed()

    def _look_for_exit(self) -> None:
        """Stamp the exit, if that is why a pipe has ended: asyncio tells it some turns of the loop later."""
        if self._exit_seen_at is None and self._has_exited():
            self._exit_seen_at = time.monotonic()
            self._unwatch()  # what the pipes still hold is taken at once, by `finish`

    def _unwatch(self) -> None:
        for descriptor in (self._stdout, self._stderr, self._log_pipe.read_end):
            self._readers.remove(descriptor)

    def _has_exited(self) -> bool:
        """Look without reaping: WNOWAIT leaves that, and the exit code, to asyncio's own watcher (waitid(2))."""
        try:
            state = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return state is not None

    def _pause(self, descriptor: int, until: Future[None]) -> None:
        """Read no further until what was read is written: what comes meanwhile waits in the pipe, and at the host."""

        def resume() -> None:
            if self.ended_at is None and not self._held:
                self._readers.add(descriptor, self)

        self._readers.remove(descriptor)
        until.add_done_callback(lambda _: self._loop.call_soon_threadsafe(resume))

    def _take_stdout(self, data: bytes) -> Future[None] | None:
        self._listener.wrote("stdout", data)
        if isinstance(self.stdout, Nothing):
            self.stdout = self._store.capture(self._max_output)
        return self.stdout.write(data)

    def _take_stderr(self, data: bytes) -> Future[None] | None:
        # ssh logs that it sends the command before the command can write anything. So what was read before a look at
        # the log that does not show it yet is not the command's: it is a banner, a jump host's, or ssh's own.
        if self.log.sent_at is None:
            self._read_log()
        if self.log.sent_at is None and not self.log.silent:
            self.preamble = (self.preamble + data)[-_PREAMBLE:]
            return None
        if self.reports is not None:
            data = self.reports.feed(data)
            if self.reports.watched is False and self._given():
                self._close_stdin()
        return self._keep_stderr(data)

    def _keep_stderr(self, data: bytes) -> Future[None] | None:
        if data == b"":
            return None
        self._listener.wrote("stderr", data)
        if isinstance(self.stderr, Nothing):
            self.stderr = self._store.capture(self._max_output)
        return self.stderr.write(data)

    def _given(self) -> bool:
        """Whether all of the command's standard input is on its way."""
        return self._source is None or self._stdin_at >= self._source.size

    def _write_stdin(self) -> None:
        assert self._source is not None
        try:
            if not self._given():
                data = self._next_input()
                if not data:
                    self._close_stdin()  # a file that has shrunk since: this is its end now
                    return
                self._stdin_at += os.write(self._stdin, data)
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._close_stdin()  # nobody reads any further: the command's own business
            return
        if self._given():
            self._loop.remove_writer(self._stdin)
            # A watchdog hears us through what follows.
            if self.reports is None or self.reports.watched is False:
                self._close_stdin()

    def _next_input(self) -> bytes | memoryview:
        assert self._source is not None
        try:
            return self._source.read_at(self._stdin_at, _CHUNK)
        except OSError as error:
            self.input_failure = error.with_traceback(None)
            return b""

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def _drain(self) -> None:
        """Take what is in the pipes at the exit, and no more: others may hold them open and write on."""
        for data in _available(self._log_pipe.read_end):
            self._feed_log(data)
        for data in _available(self._stderr):
            self._take_stderr(data)
        if self.reports is not None:
            self._keep_stderr(self.reports.flush())
        self.stdout.settle()
        for data in _available(self._stdout):
            self._take_stdout(data)
        self._unwatch()
        self._close()

    def _close(self) -> None:
        os.close(self._stdout)
        os.close(self._stderr)
        self._log_pipe.close()
        self._close_stdin()


def _pipe(ours: list[int], theirs: list[int], *, reading: bool = True) -> tuple[int, int]:
    """Return our end, which does not block, and the child's; each is also put into its list."""
    read_end, write_end = os.pipe()
    our_end, their_end = (read_end, write_end) if reading else (write_end, read_end)
    ours.append(our_end)
    theirs.append(their_end)
    os.set_blocking(our_end, False)
    return our_end, their_end


def _read(descriptor: int, count: int) -> bytes | None:
    """Read what is there; None where nothing is, empty at the end."""
    try:
        return os.read(descriptor, count)
    except BlockingIOError:
        return None


def _held(descriptor: int) -> int:
    """Return how many bytes the pipe holds now (FIONREAD, pipe(7))."""
    held = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, held)
    return held[0]


def _available(descriptor: int) -> list[bytes]:
    """Read what the pipe holds now, whatever is written to it meanwhile."""
    left, chunks = _held(descriptor), []
    while left > 0:
        data = _read(descriptor, min(left, _CHUNK))
        if not data:
            break
        chunks.append(data)
        left -= len(data)
    return chunks


def _enlarge(descriptor: int) -> None:
    """Let the pipe of a child that writes a lot hold more: fewer turns of the loop a megabyte (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


_LOST = 1.0
"""Seconds for asyncio to end a child whose making was cancelled; it kills the child at once, and then may hang."""


class _Making:
    """A program that asyncio is starting: the process is there, and `process` is due, which has asyncio watch it.

    Loses no child, and does not hang, when somebody cancels every task there is, as `asyncio.run` does at its end.
    asyncio then kills a child that is being made and waits for it, for ever where its own task for the child's pipes
    was cancelled before it began (base_subprocess.py: _connect_pipes, _wait). A task of its own for the making would
    do as much, for two further turns of the loop a child.
    """

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, *argv: str, **options: Any) -> None:
        self._coroutine = asyncio.create_subprocess_exec(*argv, **options)
        try:
            # Up to its first wait: the program is started before it (base_subprocess.py: BaseSubprocessTransport).
            self._waits_for: object = self._coroutine.send(None)
        except RuntimeError as error:
            # Before 3.12 each child has a thread that waits for it (asyncio.ThreadedChildWatcher): they run out.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    async def process(self) -> asyncio.subprocess.Process:
        """Return asyncio's own idea of the child; a cancellation ends it."""
        try:
            return await self._driven()
        except asyncio.CancelledError:
            # What the making waits for is cancelled, or done: it finds that as it goes on, in a task of its own.
            going_on = asyncio.ensure_future(self._coroutine)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([going_on], timeout=_LOST)
            if going_on.done() and not going_on.cancelled() and going_on.exception() is None:
                process = going_on.result()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(asyncio.CancelledError):
                    await process.wait()
            going_on.cancel()
            raise

    @types.coroutine
    def _driven(self) -> Generator[Any, None, asyncio.subprocess.Process]:
        """Await the rest of the coroutine, but leave it where it is when the task is cancelled."""
        try:
            while True:
                yield self._waits_for
                self._waits_for = self._coroutine.send(None)
        except StopIteration as end:
            process: asyncio.subprocess.Process = end.value
            return process


async def ask_client(program: str, patience: float) -> Client:
    """Ask `program` for its version (`ssh -V`), for at most `patience` seconds.

    A program that does not answer, or not as OpenSSH does, is a stand-in: `Client(None)`.

    Raises:
        OSError: it cannot be started.

    """
    read_end, write_end = os.pipe()
    try:
        try:
            process = await _Making(
                program,
                "-V",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            ).process()
        finally:
            os.close(write_end)
        try:
            async with asyncio.timeout(patience):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        banner = b"".join(_available(read_end))
    finally:
        os.close(read_end)
    return Client.from_banner(banner.decode("ascii", "replace"))
