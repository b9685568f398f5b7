"""The pipe from which we read ssh's log while it is written, and the path by which ssh opens it (`ssh -E PATH`)."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from itertools import count

__all__ = ["LogPipe", "LogPipes"]


class LogPipe:
    """The log pipe of one child: ssh opens `path`, and we read `read_end`, which does not block."""

    __slots__ = ("_write_end", "path", "read_end")

    def __init__(self, path: str, read_end: int, write_end: int) -> None:
        self.path = path
        self.read_end = read_end
        self._write_end = write_end

    def close_write_end(self) -> None:
        """Close our write end when ssh has opened the pipe, so that the pipe ends when ssh exits."""
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1

    def close(self) -> None:
        """Close both ends."""
        self.close_write_end()
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1


class LogPipes:
    """Opens the log pipes of one run: anonymous pipes if they can be opened by path, else FIFOs.

    On Linux, ssh can open an anonymous pipe as `/proc/<pid>/fd/<n>` (proc(5)). `/dev/fd/<n>` does not work: ssh
    closes all descriptors above 2 before it opens its log (ssh.c: main, closefrom). On other systems, the pipes are
    FIFOs in a private directory, which `close` removes. So they are in a process that gave up root's rights: root
    owns its /proc/<pid> (prctl(2): PR_SET_DUMPABLE).
    """

    def __init__(self, *, anonymous: bool | None = None) -> None:
        """`anonymous`: whether to use anonymous pipes; None to find out whether ssh can open them."""
        self._anonymous = _is_ours("/proc/self/fd") if anonymous is None else anonymous
        self._directory: str | None = None
        self._serial = count()

    def open(self) -> LogPipe:
        """Return a new pipe.

        Raises:
            OSError: there are no descriptors left, or a FIFO cannot be created.

        """
        return self._open_anonymous() if self._anonymous else self._open_fifo()

    def _open_anonymous(self) -> LogPipe:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        # Our write end stays open until ssh has opened the path. Without any writer, we would read the end at once.
        return LogPipe(f"/proc/{os.getpid()}/fd/{write_end}", read_end, write_end)

    def _open_fifo(self) -> LogPipe:
        if self._directory is None:
            self._directory = tempfile.mkdtemp(prefix="sshfan-")
        path = os.path.join(self._directory, str(next(self._serial)))
        os.mkfifo(path, 0o600)
        read_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            write_end = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            os.close(read_end)
            raise
        return LogPipe(path, read_end, write_end)

    def close(self) -> None:
        """Remove the directory of the FIFOs."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._directory)
            self._directory = None


def _is_ours(directory: str) -> bool:
    try:
        return os.stat(directory).st_uid == os.geteuid()
    except OSError:
        return False
