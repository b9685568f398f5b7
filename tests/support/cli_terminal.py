"""The real program in a real terminal, and what the terminal shows."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

from tests.support.cli_program import LIMIT, PROGRAM, environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sshfan_async.testing import SshdFleet

_SHOWN = 2000

# Makes the terminal that is its stdin the controlling one, so that Ctrl-C and a hangup reach the program.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """Runs the program on a new pty, behind the words of `before`; `stdout` replaces the pty if given."""

    def __init__(
        self,
        *arguments: str,
        before: Sequence[str] = (),
        columns: int = 100,
        stdout: int | None = None,
        **env: str,
    ) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *before, *PROGRAM, *arguments],
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            start_new_session=True,
            env=environment(**{"TERM": "xterm-256color", **env}),
        )
        os.close(theirs)
        self.raw = b""
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.hang_up()

    def read_until(self, wanted: str) -> None:
        """Read until the program has written `wanted`, a regular expression."""
        deadline = time.monotonic() + LIMIT
        while re.search(wanted.encode(), self.raw) is None:
            assert self._read(deadline), f"no {wanted!r} in {self.raw[-_SHOWN:]!r}"

    def shows(self, wanted: str, *, within: float) -> bool:
        """Read for at most `within` seconds; return whether the program has written `wanted`."""
        deadline = time.monotonic() + within
        while re.search(wanted.encode(), self.raw) is None:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            if not ready or not self._read(deadline):
                return False
        return True

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def hang_up(self) -> None:
        if self._open:
            self._open = False
            os.close(self._ours)

    def finish(self) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + LIMIT
        while self._read(deadline):
            pass
        return self.process.wait(LIMIT)

    @property
    def screen(self) -> list[str]:
        """The lines that the terminal shows at the end."""
        return played(self.raw.decode())

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"the program is late; it wrote {self.raw[-_SHOWN:]!r}"
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.raw += data
        return data != b""


def played(text: str) -> list[str]:
    """Return the lines that a terminal shows after `text`; knows only the escape sequences that rich uses."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+|\x1b", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row - len(lines) + 1)
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif part.startswith("\x1b"):
            assert part.endswith("m"), f"{part!r} in {text!r}"
        else:
            lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return lines


def on(fleet: SshdFleet, *arguments: str) -> list[str]:
    """Return `arguments` for a run with the ssh_config of `fleet`."""
    return ["--ssh-config", str(fleet.ssh_config), *arguments]
