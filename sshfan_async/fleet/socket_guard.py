"""The directory of the control sockets, and a guard process that ends the ssh masters if this process dies.

A master without a session lives as long as its connection: it ignores the end of its standard input and of its
clients (clientloop.c: client_loop; ControlPersist would end it, but moves it to the background). So one small shell
per fleet waits for end of file on a pipe that only this process holds open. It finds a master by the directory of the
sockets in its arguments and by a secret in its environment, which no other user can read (proc(5)). So it finds a
master that was just started too, and no process that only has that directory in its arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sshfan_async.process.exits import start_watched
from sshfan_async.process.readers import Readers

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SocketGuard"]

# Names and secret are read from standard input: with them in the arguments, the guard would find itself. Without
# proc(5), use ps(1). Signal the whole process group, for the ssh of a jump host.
_SCRIPT = r"""
trap '' HUP INT TERM
read -r prefix
read -r secret
directory=
while read -r word value; do
  case $word in
    end) exit;;
    directory) directory=$value;;
  esac
done
[ ! "$directory" ] || rm -rf "$directory"
masters() {
  if [ -r /proc/self/cmdline ]; then
    for f in $(printf '%s\n' "$prefix" | grep -lsF -f - /proc/[0-9]*/cmdline); do
      f=${f%/cmdline}
      printf '%s\n' "$secret" | grep -qsF -f - "$f/environ" && echo "${f#/proc/}"
    done
  else
    ps -A -ww -o pid= -o args= | while read -r p a; do
      case $a in *"$prefix"*) case $(ps eww -p "$p") in *"$secret"*) echo "$p";; esac;; esac
    done
  fi
}
n=0
while [ $n -lt 50 ]; do
  m=$(masters)
  [ "$m" ] || [ $n -lt 2 ] || exit
  s=TERM
  [ $n -lt 20 ] || s=KILL
  for p in $m; do kill -$s -$p || kill -$s $p; done
  n=$((n + 1))
  sleep 0.1 || sleep 1
done 2>/dev/null
"""

_PLAIN = re.compile(r"[A-Za-z0-9/._-]{1,40}")
"""Directories for a control path: without `%`, `$` and `~`, which ssh expands, and short enough for the name of a
socket (unix(7): 108 bytes, elsewhere 104), to which ssh appends some bytes (mux.c: muxserver_listen)."""


class SocketGuard:
    """The guard process and the sockets' directory of one fleet, from `start` to `close`."""

    def __init__(self, exited: asyncio.Future[int], pipe: int, prefix: str, secret: str) -> None:
        self.variables = {b"SSHFAN_FLEET": secret.encode("ascii")}
        """What the environment of each master must contain."""
        self._exited = exited
        self._pipe = pipe
        self._prefix = prefix
        self._directory: str | None = None
        self._users = 0
        self._serial = 0

    @classmethod
    def start(cls) -> SocketGuard:
        """Start the guard process.

        Raises:
            OSError: this machine is out of processes or file descriptors.

        """
        base = tempfile.gettempdir()
        prefix = os.path.join(base if _PLAIN.fullmatch(base) else "/tmp", f"sshfan-{secrets.token_hex(4)}-")
        secret = secrets.token_hex(16)
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[int] = loop.create_future()
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, f"{prefix}\n{secret}\n".encode("ascii"))
            start_watched(
                Readers(loop),
                exited.set_result,
                "/bin/sh",
                "-c",
                _SCRIPT,
                stdin=read_end,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        os.set_blocking(write_end, False)  # a guard that somebody has stopped must not stop us
        return cls(exited, write_end, prefix, secret)

    @contextmanager
    def socket_path(self) -> Iterator[str]:
        """Yield a path for a new socket, and remove that socket at the end of the block.

        The directory exists only while paths in it are in use. Other users cannot look into it.

        Raises:
            OSError: the directory cannot be created.

        """
        if self._directory is None:
            self._directory = tempfile.mkdtemp(
                prefix=os.path.basename(self._prefix), dir=os.path.dirname(self._prefix)
            )
            self._tell(f"directory {self._directory}")
        self._users += 1
        self._serial += 1
        path = os.path.join(self._directory, str(self._serial))
        try:
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self._users -= 1
            if self._users == 0:
                self._remove()

    def _remove(self) -> None:
        if self._directory is not None:
            # The temporary socket of a master that is ending may still exist, or vanish during this loop.
            for name in os.listdir(self._directory):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._directory, name))
            os.rmdir(self._directory)
            self._directory = None
            self._tell("directory")

    def _tell(self, words: str) -> None:
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self._pipe, f"{words}\n".encode("ascii"))

    async def close(self) -> None:
        """End the guard process. Call it when all masters have ended."""
        self._tell("end")
        os.close(self._pipe)
        await asyncio.wait([self._exited])
