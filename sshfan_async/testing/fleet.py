"""`SshdFleet`: one private sshd on loopback that answers to many host names."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread

from sshfan_async.errors import InvalidSetting
from sshfan_async.settings import Ssh
from sshfan_async.testing import server
from sshfan_async.testing.configuration import RESERVED, ssh_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from sshfan_async.testing.server import Server

__all__ = ["SshdFleet"]

HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
KEYWORD = re.compile(r"[A-Za-z0-9]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class SshdFleet:
    """One real sshd that answers to many host names; a context manager for `with` and for `async with`.

    The sshd is private: on loopback, on a free port, with throw-away keys in a directory (0700) of its own,
    unprivileged unless we are root. Nothing of the user's `~/.ssh`, agent or system-wide ssh configuration
    is read or written. Remote commands run as the current user and start in that user's home
    directory (session.c: do_child), but with HOME set to an empty private directory, so that no shell reads
    the user's own rc files.

    At the end of the block, also by an exception, and also when this process dies by SIGKILL, sshd and every
    process of its sessions are ended (TERM, after one second KILL) and the directory is removed. On Linux
    that includes processes that left their session by `setsid`; elsewhere those stay.

    `hosts`: how many (`node001`, `node002`, …) or their names. `sshd_options`: sshd_config(5) keywords that
    replace this fleet's own, each with one value or a sequence of values; all but ListenAddress, PidFile and
    Port. `{"KexAlgorithms": "curve25519-sha256"}` makes a connection several times cheaper than OpenSSH's
    default; `SetEnv` replaces the private HOME too.

    A fleet can be entered once.

    Raises:
        InvalidSetting: a name or an option cannot be written down.
        FleetUnavailable: on entry; OpenSSH is not installed, or sshd refuses to start (its own words say why).
        SshfanError: at the end; sshd had ended by itself, or something could not be removed.

    """

    def __init__(
        self,
        hosts: int | Sequence[str] = 3,
        *,
        sshd_options: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        self.hosts: tuple[str, ...] = _names(hosts)
        self._sshd_options = {} if sshd_options is None else dict(sshd_options)
        _check_sshd_options(self._sshd_options)
        self._added: dict[str, dict[str, str]] = {}
        self._server: Server | None = None
        self._spent = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        with self._lock:
            if self._spent:
                raise RuntimeError("an SshdFleet can be entered once: make another")
            self._spent = True
            running = server.start(self._sshd_options)
            try:
                self._write_ssh_config(running)
            except BaseException:
                server.end(running)
                raise
            self._server = running
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    async def __aenter__(self) -> Self:
        try:
            return await to_thread.run_sync(self.__enter__)
        except BaseException:
            # A native Task.cancel() does not wait for the thread: it may be starting sshd just now.
            self._end()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with CancelScope(shield=True):
                await to_thread.run_sync(self._end)
        finally:
            self._end()  # a native Task.cancel() does not wait for the thread: the lock does

    def __repr__(self) -> str:
        return f"<SshdFleet of {len(self.hosts)} hosts>"

    @property
    def directory(self) -> Path:
        """The private directory: keys, configuration, log."""
        return self._running.layout.directory

    @property
    def ssh_config(self) -> Path:
        """The file for `ssh -F`."""
        return self._running.layout.ssh_config

    @property
    def ssh(self) -> Ssh:
        """The settings with which `fan_out` and its kind reach this fleet."""
        return Ssh(config_file=self.ssh_config)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._running.port

    @property
    def sshd_pid(self) -> int:
        """The process id of the sshd that listens."""
        return self._running.pid

    def sshd_log(self) -> str:
        """Return what sshd has logged up to now (at LogLevel VERBOSE)."""
        return self._running.layout.sshd_log.read_text(errors="backslashreplace")

    def add_host(self, name: str, *, options: Mapping[str, str]) -> None:
        """Add a host, or change one, by ssh_config(5) options that win over the fleet's own.

        For hosts that behave badly: `{"Port": "1"}` refuses connections, `{"UserKnownHostsFile": "/dev/null"}` has
        an unknown host key, `{"PubkeyAuthentication": "no"}` refuses the user (IdentityFile would only add a key),
        `{"ProxyJump": "node001"}` is reached through another host. Clients that start later see the change;
        `hosts` stays as it is.

        Raises:
            InvalidSetting: the name or an option cannot be written down.

        """
        _check_name(name)
        for keyword, value in options.items():
            _check_option(keyword, value)
        running = self._running
        self._added[name] = dict(options)
        self._write_ssh_config(running)

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("this SshdFleet is not running: use it inside its `with` block")
        return self._server

    def _write_ssh_config(self, running: Server) -> None:
        text = ssh_config(running.layout, running.port, user=running.user, hosts=self.hosts, added=self._added)
        new = running.layout.ssh_config.with_suffix(".new")
        new.write_text(text)
        new.replace(running.layout.ssh_config)

    def _end(self) -> None:
        with self._lock:
            self._spent = True
            running, self._server = self._server, None
            if running is not None:
                server.end(running)


def _names(hosts: int | Sequence[str]) -> tuple[str, ...]:
    if isinstance(hosts, int):
        if hosts < 1:
            raise InvalidSetting(f"hosts={hosts}: a fleet has at least one host")
        width = max(3, len(str(hosts)))
        return tuple(f"node{number:0{width}}" for number in range(1, hosts + 1))
    if isinstance(hosts, str):
        raise InvalidSetting(f"hosts={hosts!r}: give a number, or a sequence of names such as [{hosts!r}]")
    for name in hosts:
        _check_name(name)
    return tuple(dict.fromkeys(hosts))


def _check_name(name: str) -> None:
    if HOST_NAME.fullmatch(name) is None:
        raise InvalidSetting(f"host {name!r}: a name has letters, digits, `.`, `-` and `_`, no `-` or `.` first")


def _check_sshd_options(options: Mapping[str, str | Sequence[str]]) -> None:
    for keyword, values in options.items():
        if keyword.lower() in RESERVED:
            raise InvalidSetting(f"sshd option {keyword}: the fleet depends on its own")
        for value in [values] if isinstance(values, str) else values:
            _check_option(keyword, value)


def _check_option(keyword: str, value: str) -> None:
    if KEYWORD.fullmatch(keyword) is None:
        raise InvalidSetting(f"option {keyword!r}: a keyword has letters and digits only")
    if CONTROL.search(value) is not None:
        raise InvalidSetting(f"option {keyword}={value!r}: a value is one line")
