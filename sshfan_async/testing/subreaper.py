"""Run the sshd of a test fleet, and end it when the owner of the fleet asks for it or dies.

This is a program of its own: `python -I -S subreaper.py DIRECTORY SSHD ARGUMENT...`. It uses only the standard
library: every import delays the start of a fleet. It stops at any data on stdin, or at end of file, which also comes
if the owner is killed (SIGKILL). It writes errors to stdout, and nothing else.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import stat
import sys
import time
from contextlib import suppress

GRACE = 1.0
"""Seconds between TERM and KILL."""
KILL_LIMIT = 5.0
"""Seconds after which we stop waiting for processes that we may not kill (sudo), and report them."""
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

PRIVSEP_DIRECTORY = "/run/sshd"
"""Debian's privilege separation directory: as root, sshd refuses to start without it (sshd.c: main)."""
PR_SET_CHILD_SUBREAPER = 36


def main(directory: str, command: list[str]) -> int:
    """Run `command` until it is time to stop; return 0 if everything was ended and removed."""
    become_subreaper()
    wake = wake_on_signals()
    privsep = hold_privsep_directory() if os.geteuid() == 0 and os.path.isdir("/run") else None
    sshd = start(directory, command)
    errors = [] if wait_for_stop(sshd, wake) else [f"sshd ended: {log_tail(directory)}"]
    remaining = end_descendants(wake)
    if remaining:
        errors.append(f"processes that could not be ended: {sorted(remaining)}")
    if privsep is not None:
        release_privsep_directory(privsep)
    try:
        remove(directory)
    except OSError as error:
        errors.append(str(error))
    with suppress(BrokenPipeError):
        os.write(1, "\n".join(errors).encode(errors="backslashreplace"))
    return 1 if errors else 0


def become_subreaper() -> None:
    """Adopt processes that leave sshd's process tree (`setsid`, daemons), so that the end finds them all."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wake_on_signals() -> int:
    """Return a descriptor from which the numbers of received signals can be read."""
    readable, writable = os.pipe()
    for end in (readable, writable):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in {signal.SIGCHLD, *STOP_SIGNALS}:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the owner's thread may have blocked some
    return readable


def start(directory: str, command: list[str]) -> int:
    """Start sshd with its log in `directory`, and with the default action for all signals."""
    log = os.path.join(directory, "sshd.log")
    return os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsigmask=[],
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


def wait_for_stop(sshd: int, wake: int) -> bool:
    """Wait; return True when it is time to stop, False if sshd ended first."""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if 0 in readable or STOP_SIGNALS & set(os.read(wake, 4096)):
            return True
        if sshd in reap():
            return False


def log_tail(directory: str) -> str:
    """Return the last 4096 characters of sshd's log, which fit into a pipe before anything reads it."""
    with open(os.path.join(directory, "sshd.log"), errors="backslashreplace") as log:
        return log.read()[-4096:].rstrip()


def reap() -> set[int]:
    """Reap all children that have ended, adopted ones too, and return their ids."""
    ended = set()
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.add(pid)
    return ended


def end_descendants(wake: int) -> set[int]:
    """Send TERM, then KILL, until no descendant lives; return those that could not be ended."""
    kill_at = time.monotonic() + GRACE
    send(signal.SIGTERM, descendants())
    while remaining := living():
        now = time.monotonic()
        if now > kill_at + KILL_LIMIT:
            break
        if now >= kill_at:
            send(signal.SIGKILL, remaining)
        select.select([wake], [], [], 0.05 if now >= kill_at else kill_at - now)
        with suppress(BlockingIOError):
            os.read(wake, 4096)
    return remaining


def living() -> set[int]:
    """Return the descendants that have not ended."""
    reap()
    return descendants()


def send(number: signal.Signals, pids: set[int]) -> None:
    """Signal each of `pids` that still exists and that we may signal."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants() -> set[int]:
    """Return the process ids of all descendants of this process."""
    parents = parents_from_proc() if sys.platform == "linux" else parents_from_ps()
    found: set[int] = set()
    generation = {os.getpid()}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation}
        found |= generation
    return found


def parents_from_proc() -> dict[int, int]:
    """Return the parent of each process, from proc(5): the second field after the last `)`."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(ProcessLookupError, FileNotFoundError), open(f"/proc/{name}/stat", "rb") as file:
            parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    return parents


def parents_from_ps() -> dict[int, int]:
    """Return the parent of each process, from ps(1), for systems without proc(5)."""
    import subprocess  # not needed on Linux, and slow

    with subprocess.Popen(["ps", "-A", "-o", "pid=", "-o", "ppid="], stdout=subprocess.PIPE, text=True) as ps:
        assert ps.stdout is not None
        return {int(pid): int(parent) for pid, parent in map(str.split, ps.stdout) if int(pid) != ps.pid}


def hold_privsep_directory() -> int:
    """Create the privilege separation directory if it is missing; return a descriptor that holds a lock on it.

    Several fleets may share the directory: each holds a shared lock, and the last one removes it. The sticky bit
    marks a directory that a fleet created (sshd checks only that no other user can write there). Without it, the
    directory belongs to the system and is not removed.
    """
    while True:
        with suppress(FileExistsError):
            os.mkdir(PRIVSEP_DIRECTORY)
            os.chmod(PRIVSEP_DIRECTORY, 0o1755)
        with suppress(FileNotFoundError):
            held = os.open(PRIVSEP_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(held), os.stat(PRIVSEP_DIRECTORY)):
                return held


def release_privsep_directory(held: int) -> None:
    """Remove the privilege separation directory if a fleet created it and no other fleet uses it."""
    if os.fstat(held).st_mode & stat.S_ISVTX:
        with suppress(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rmdir(PRIVSEP_DIRECTORY)


def remove(directory: str) -> None:
    """Remove the fleet's directory, with the files that remote commands wrote to their HOME there."""
    import shutil  # imported late: it takes as long as the rest of the start

    shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
