"""The sockets' directory, and a process that ends the masters when we cannot: killed, or crashed.

A master without a session lives as long as its connection, whoever started it: neither its standard input nor the
end of its clients ends it (clientloop.c: client_loop; ControlPersist would, but puts it into the background). So one
small shell per fleet waits for the end of a pipe that only we hold open, however we end. Masters carry the sockets'
directory in their arguments: by that it finds them, also one that we had no time to tell of. The pipe is closed in
every child at exec, so its end cannot come before a master that was just being started can be found.
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

from sshfan_async.process.spawn import Spawning

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SocketGuard"]

# The directory's name comes through standard input: by its own arguments the keeper would find itself. Without
# proc(5) it asks ps(1). Signals go to the whole group, for a jump host's ssh.
_SCRIPT = r"""
trap '' HUP INT TERM
read -r t
read -r _ && exit
rm -rf "$t"*
masters() {
  if [ -r /proc/self/cmdline ]; then
    for f in $(printf '%s\n' "$t" | grep -lsF -f - /proc/[0-9]*/cmdline); do f=${f#/proc/}; echo "${f%/cmdline}"; done
  else
    ps -A -ww -o pid= -o args= | while read -r p a; do case $a in *"$t"*) echo "$p";; esac; done
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
"""What a control path may hold: neither `%`, `$` and `~`, which ssh expands, nor more than a socket's name has room
for (unix(7): 108 bytes, elsewhere 104, less what ssh appends while it makes the socket; mux.c: muxserver_listen)."""


class SocketGuard:
    """Made by `start`, ended by `close`."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: int, prefix: str) -> None:
        self._process = process
        self._pipe = pipe
        self._prefix = prefix
        self._directory: str | None = None
        self._users = 0
        self._serial = 0

    @classmethod
    async def start(cls) -> SocketGuard:
        """Start the process.

        Raises:
            OSError: out of processes or descriptors.

        """
        base = tempfile.gettempdir()
        prefix = os.path.join(base if _PLAIN.fullmatch(base) else "/tmp", f"sshfan-{secrets.token_hex(4)}-")
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, f"{prefix}\n".encode("ascii"))
            process = await Spawning(
                "/bin/sh",
                "-c",
                _SCRIPT,
                stdin=read_end,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            ).process()
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        return cls(process, write_end, prefix)

    @contextmanager
    def socket_path(self) -> Iterator[str]:
        """Give the path of a socket to be; within the block it may be there, afterwards it is not.

        The directory is there while anybody needs it, and for nobody else to look into.

        Raises:
            OSError: the directory cannot be made.

        """
        if self._directory is None:
            self._directory = tempfile.mkdtemp(
                prefix=os.path.basename(self._prefix), dir=os.path.dirname(self._prefix)
            )
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
            # A master that is being ended may still be about to remove the temporary name of its socket.
            for name in os.listdir(self._directory):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._directory, name))
            os.rmdir(self._directory)
            self._directory = None

    async def close(self) -> None:
        """End the process: all masters have ended."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"\n")
        os.close(self._pipe)
        await self._process.wait()
