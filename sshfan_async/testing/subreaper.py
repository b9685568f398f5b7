"""The process that owns a fleet's sshd: starts it, and ends it when the fleet's owner says so or dies.

Run as `python -I -S subreaper.py DIRECTORY SSHD ARGUMENT...`, never imported; the standard library only, since
every import delays a fleet's start. Anything on stdin, or its end, is the order to stop: end of file comes
even when the owner is killed with SIGKILL. stdout tells what went wrong; a fleet that ends well says nothing.
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
"""Seconds after which processes that we may not kill (sudo) are given up, and named."""
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

PRIVSEP_DIRECTORY = "/run/sshd"
"""Debian's privilege separation directory: an sshd of root's refuses to start without it (sshd.c: main)."""
PR_SET_CHILD_SUBREAPER = 36


def main(directory: str, command: list[str]) -> int:
    """Keep `command` running until told to stop; return 0 if nothing is left behind."""
    become_subreaper()
    wake = wake_on_signals()
    privsep = hold_privsep_directory() if os.geteuid() == 0 and os.path.isdir("/run") else None
    sshd = start(directory, command)
    complaints = [] if wait_for_stop(sshd, wake) else [f"sshd ended: {log_end(directory)}"]
    left = end_descendants(wake)
    if left:
        complaints.append(f"processes that could not be ended: {sorted(left)}")
    if privsep is not None:
        release_privsep_directory(privsep)
    try:
        remove(directory)
    except OSError as error:
        complaints.append(str(error))
    with suppress(BrokenPipeError):
        os.write(1, "\n".join(complaints).encode(errors="backslashreplace"))
    return 1 if complaints else 0


def become_subreaper() -> None:
    """Adopt what leaves sshd's process tree (`setsid`, daemons), so that all of it is found at the end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wake_on_signals() -> int:
    """Return a descriptor that becomes readable with the numbers of the signals that came."""
    readable, writable = os.pipe()
    for end in (readable, writable):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in {signal.SIGCHLD, *STOP_SIGNALS}:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a thread of our owner's may have blocked some
    return readable


def start(directory: str, command: list[str]) -> int:
    """Start sshd with its log in `directory`, and with no signal ignored that our owner ignores."""
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
    """Wait; return True when told to stop, False when sshd ended by itself."""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if 0 in readable or STOP_SIGNALS & set(os.read(wake, 4096)):
            return True
        if sshd in reap():
            return False


def log_end(directory: str) -> str:
    """Return the last lines of sshd's log: no more than fits into a pipe that nobody reads yet."""
    with open(os.path.join(directory, "sshd.log"), errors="backslashreplace") as log:
        return log.read()[-4096:].rstrip()


def reap() -> set[int]:
    """Reap the children that have ended: the adopted ones too, or they would stay as zombies."""
    ended = set()
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.add(pid)
    return ended


def end_descendants(wake: int) -> set[int]:
    """TERM, then KILL, until no descendant is left; return those that could not be ended."""
    kill_at = time.monotonic() + GRACE
    send(signal.SIGTERM, descendants())
    while left := living():
        now = time.monotonic()
        if now > kill_at + KILL_LIMIT:
            break
        if now >= kill_at:
            send(signal.SIGKILL, left)
        select.select([wake], [], [], 0.05 if now >= kill_at else kill_at - now)
        with suppress(BlockingIOError):
            os.read(wake, 4096)
    return left


def living() -> set[int]:
    """Return the descendants that have not ended."""
    reap()
    return descendants()


def send(number: signal.Signals, pids: set[int]) -> None:
    """Signal each of `pids` that is still there and that we may signal."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants() -> set[int]:
    """Return the ids of our children, their children, and so on."""
    parents = parents_from_proc() if sys.platform == "linux" else parents_from_ps()
    found: set[int] = set()
    generation = {os.getpid()}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation}
        found |= generation
    return found


def parents_from_proc() -> dict[int, int]:
    """Return every process's parent, from proc(5): the field after the state, which follows the last `)`."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(ProcessLookupError, FileNotFoundError), open(f"/proc/{name}/stat", "rb") as file:
            parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    return parents


def parents_from_ps() -> dict[int, int]:
    """Return every process's parent, where there is no proc(5)."""
    import subprocess  # not needed on Linux, and slow

    with subprocess.Popen(["ps", "-A", "-o", "pid=", "-o", "ppid="], stdout=subprocess.PIPE, text=True) as ps:
        assert ps.stdout is not None
        return {int(pid): int(parent) for pid, parent in map(str.split, ps.stdout) if int(pid) != ps.pid}


def hold_privsep_directory() -> int:
    """Make the privilege separation directory if it is missing; return a descriptor that holds a lock on it.

    Several fleets may share the directory: each holds a shared lock, and the last one removes it. The sticky
    bit means "made by a fleet" (sshd asks only that nobody else may write there); a directory without it is
    the system's and stays.
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
    """Remove the privilege separation directory if a fleet made it and no other fleet holds it."""
    if os.fstat(held).st_mode & stat.S_ISVTX:
        with suppress(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rmdir(PRIVSEP_DIRECTORY)


def remove(directory: str) -> None:
    """Remove the fleet's directory with whatever remote commands wrote into their home there."""
    import shutil  # costs as much as the rest of the start: not needed before the end

    shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
