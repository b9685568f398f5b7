"""The pipe through which ssh's log reaches us live, and the name by which ssh opens it (`ssh -E NAME`)."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from itertools import count

__all__ = ["LogPipe", "LogPipes"]


class LogPipe:
    """One child's log: `path` for ssh to open, `read_end` for us to read (non-blocking)."""

    __slots__ = ("_write_end", "path", "read_end")

    def __init__(self, path: str, read_end: int, write_end: int) -> None:
        self.path = path
        self.read_end = read_end
        self._write_end = write_end

    def close_write_end(self) -> None:
        """Close our own write end: ssh has its own by now, and the pipe shall end with ssh's."""
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
    """Makes the log pipes of one run: anonymous ones where the kernel can name them, else FIFOs.

    On Linux, `/proc/<pid>/fd/<n>` of a pipe opens the pipe itself (proc(5)) and leaves nothing behind. `/dev/fd/<n>`
    cannot serve: ssh closes all descriptors above 2 before it opens its log (ssh.c: main, closefrom). Elsewhere, and
    in a process that gave up being root and so has its /proc/<pid> owned by root (prctl(2): PR_SET_DUMPABLE), the
    name is that of a FIFO in a private directory, which `close` removes.
    """

    def __init__(self, *, anonymous: bool | None = None) -> None:
        """Use anonymous pipes, or FIFOs; None decides by what others may open."""
        self._anonymous = _is_ours("/proc/self/fd") if anonymous is None else anonymous
        self._directory: str | None = None
        self._serial = count()

    def open(self) -> LogPipe:
        """Return a new pipe.

        Raises:
            OSError: out of descriptors, or no temporary directory can be written.

        """
        return self._open_anonymous() if self._anonymous else self._open_fifo()

    def _open_anonymous(self) -> LogPipe:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        # The write end stays open until ssh has opened it by name, or we would read the end of the pipe at once.
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
        """Remove the FIFOs' directory."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._directory)
            self._directory = None


def _is_ours(directory: str) -> bool:
    try:
        return os.stat(directory).st_uid == os.geteuid()
    except OSError:
        return False
