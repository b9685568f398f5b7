"""Start and end one private sshd. It is a child of the process in `subreaper.py`."""

from __future__ import annotations

import os
import pwd
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sshfan_async.errors import FleetUnavailable, SshfanError
from sshfan_async.escape import printable
from sshfan_async.testing.configuration import ADDRESS, Layout, known_hosts, sshd_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Server", "end", "start"]

SBIN_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/sbin")
"""Directories of sshd, which are often not in the PATH of an ordinary user."""
SERVER_PACKAGE = (
    "openssh-server (Debian, Ubuntu: apt-get install openssh-server; Fedora, RHEL: dnf install openssh-server)"
)
CLIENT_PACKAGE = (
    "openssh-client (Debian, Ubuntu: apt-get install openssh-client; Fedora, RHEL: dnf install openssh-clients)"
)
SHADOW = Path("/etc/shadow")
START_LIMIT = 30.0
"""Seconds for sshd to start listening; normally it takes some milliseconds."""
PORT_ATTEMPTS = 10
NO_LOGIN_SHELLS = {"false", "nologin"}
UNQUOTABLE = re.compile(r'[\x00-\x1f\x7f"\\$%]')
"""Characters that ssh_config(5) and sshd_config(5) do not take literally, even in quotes."""
SUBREAPER = Path(__file__).with_name("subreaper.py")


@dataclass(frozen=True, slots=True)
class Server:
    """A running sshd."""

    layout: Layout
    port: int
    user: str
    """The name of the current user, who logs in."""
    pid: int
    subreaper: subprocess.Popen[bytes]


class _PortTaken(Exception):
    """Another process took the port after we chose it."""


def start(options: Mapping[str, str | Sequence[str]]) -> Server:
    """Start an sshd with `options` added to our defaults; return when it listens, after about 50 ms.

    Raises:
        FleetUnavailable: a program is missing, or sshd refuses to start.

    """
    sshd = _program("sshd", SERVER_PACKAGE)
    keygen = _program("ssh-keygen", CLIENT_PACKAGE)
    _program("ssh", CLIENT_PACKAGE)
    user = _login_user()
    for _ in range(PORT_ATTEMPTS):
        with suppress(_PortTaken):
            return _start_on(_free_port(), sshd=sshd, keygen=keygen, user=user, options=options)
    raise FleetUnavailable(f"sshd found no free port on {ADDRESS} in {PORT_ATTEMPTS} attempts")


def end(server: Server) -> None:
    """End sshd with its sessions and remove its directory; return when that is done.

    Raises:
        SshfanError: sshd had ended early, or a process or file could not be removed.

    """
    output, _ = server.subreaper.communicate(b"stop\n")
    if server.subreaper.returncode != 0:
        raise SshfanError(
            f"the fleet in {server.layout.directory} did not end well"
            f" (its subreaper exited with {server.subreaper.returncode}): {_one_line(output)}"
        )


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN_DIRECTORIES]))
    if found is None:
        raise FleetUnavailable(f"{name} is not installed: install the package {package}")
    return os.path.abspath(found)  # sshd requires it: it executes itself again for each connection


def _login_user() -> str:
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise FleetUnavailable(
            f"user id {os.geteuid()} is not in the password database: ssh and sshd require an entry there"
        ) from None
    if Path(entry.pw_shell).name in NO_LOGIN_SHELLS:
        raise FleetUnavailable(f"user {entry.pw_name} cannot log in (shell {entry.pw_shell}): run as a user who can")
    return entry.pw_name


def _free_port() -> int:
    with socket.socket() as chooser:
        chooser.bind((ADDRESS, 0))
        port: int = chooser.getsockname()[1]
    return port


def _start_on(port: int, *, sshd: str, keygen: str, user: str, options: Mapping[str, str | Sequence[str]]) -> Server:
    layout = Layout(Path(tempfile.mkdtemp(prefix="sshfan-")))
    try:
        _make_keys(layout, keygen)
        _write_configuration(layout, port, sshd, user, options)
        fifo = os.open(layout.pid_fifo, os.O_RDONLY | os.O_NONBLOCK)
        command = [sshd, "-D", "-e", "-f", str(layout.sshd_config)]
        subreaper = subprocess.Popen(
            [sys.executable, "-I", "-S", SUBREAPER, layout.directory, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except BaseException:
        shutil.rmtree(layout.directory)
        raise
    try:
        with open(fifo, "rb") as pid_file:
            pid = _wait_until_listening(pid_file, subreaper)
    except BaseException:
        subreaper.communicate(b"stop\n")
        raise
    if pid is None:
        output, _ = subreaper.communicate()
        if b"Address already in use" in output:
            raise _PortTaken
        raise FleetUnavailable(f"sshd refused to start: {_one_line(output).removeprefix('sshd ended: ')}")
    return Server(layout=layout, port=port, user=user, pid=pid, subreaper=subreaper)


def _wait_until_listening(pid_file: IO[bytes], subreaper: subprocess.Popen[bytes]) -> int | None:
    """Return the process id of sshd when it listens; None if the subreaper reports an error."""
    assert subreaper.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(pid_file, selectors.EVENT_READ)
        selector.register(subreaper.stdout, selectors.EVENT_READ)
        ready = {key.fileobj for key, _ in selector.select(START_LIMIT)}
    if not ready:
        raise FleetUnavailable(f"sshd did not listen within {START_LIMIT:g} s")
    return int(pid_file.read()) if pid_file in ready else None


def _make_keys(layout: Layout, keygen: str) -> None:
    if UNQUOTABLE.search(str(layout.directory)) is not None:
        raise FleetUnavailable(
            f"the temporary directory {str(layout.directory)!r} has a character that is special in ssh_config:"
            " set TMPDIR to another directory"
        )
    for key in (layout.host_key, layout.client_key):
        keygen_run = _run(keygen, "-q", "-t", "ed25519", "-N", "", "-C", "sshfan", "-f", str(key))
        if keygen_run.returncode != 0:
            raise FleetUnavailable(f"{keygen} could not create a key: {_one_line(keygen_run.stdout)}")


def _write_configuration(
    layout: Layout, port: int, sshd: str, user: str, options: Mapping[str, str | Sequence[str]]
) -> None:
    layout.sshd_config.write_text(
        sshd_config(layout, port, version=_version(sshd), use_pam=_account_is_locked(user), options=options)
    )
    layout.known_hosts.write_text(known_hosts(port, layout.host_key.with_suffix(".pub").read_text()))
    layout.sshd_log.touch()
    layout.home.mkdir()
    os.mkfifo(layout.pid_fifo, 0o600)


def _version(sshd: str) -> tuple[int, int]:
    output = _run(sshd, "-V").stdout  # an old sshd does not know -V, but its usage text has the version too
    found = re.search(rb"OpenSSH_(\d+)\.(\d+)", output)
    if found is None:
        raise FleetUnavailable(f"{sshd} is not OpenSSH's sshd: {_one_line(output)}")
    return int(found[1]), int(found[2])


def _account_is_locked(user: str) -> bool:
    """Return whether sshd without PAM refuses the account: its password begins with `!` (auth.c: allowed_user).

    Only an sshd that runs as root can read that, in shadow(5).
    """
    if os.geteuid() != 0:
        return False
    with suppress(FileNotFoundError):
        return f"\n{user}:!" in "\n" + SHADOW.read_text(errors="replace")
    return False


def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _one_line(output: bytes) -> str:
    return "; ".join(map(printable, output.splitlines()))
