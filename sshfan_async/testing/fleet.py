"""`SshdFleet`: one private sshd on loopback that answers to many host names."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from anyio import CancelScope

from sshfan_async.errors import InvalidSetting
from sshfan_async.loop.loops import in_thread
from sshfan_async.settings import Ssh, option_texts
from sshfan_async.testing import server
from sshfan_async.testing.configuration import RESERVED, ssh_config

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from sshfan_async.settings import OptionValue
    from sshfan_async.testing.server import Server

__all__ = ["SshdFleet"]

HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
KEYWORD = re.compile(r"[A-Za-z0-9]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class SshdFleet:
    """Run one real sshd that answers to many host names. Use it with `with` or `async with`, once.

        with SshdFleet(hosts=20) as fleet:
            report = asyncio.run(fan_out(fleet.hosts, "uptime", ssh=fleet.ssh))

    The sshd is private: it listens on a free port of 127.0.0.1, with new keys in a directory of its own (mode 0700),
    and runs as the current user. The user's `~/.ssh`, the agent and the system-wide ssh configuration are not used.
    Remote commands run as the current user and start in that user's home directory (session.c: do_child). HOME is an
    empty private directory, so shells do not read the user's own start-up files.

    At the end of the block, sshd and all processes of its sessions are ended (TERM, then KILL after 1 second), and
    the directory is removed. This also happens after an exception, and if this process is killed (SIGKILL). On Linux
    it includes processes that left their session with `setsid`; on other systems those stay.

    Args:
        hosts: the number of hosts (named `node001`, `node002`, …), or a sequence of names.
        sshd_options: sshd_config(5) options, which replace the fleet's own: `{"MaxSessions": 5}`. Values are as in
            `Ssh(options=...)`. ListenAddress, PidFile and Port cannot be set. With
            `{"KexAlgorithms": "curve25519-sha256"}`, a connection takes several times less CPU than with OpenSSH's
            default. `SetEnv` also replaces the private HOME.

    Raises:
        InvalidSetting: `hosts` is empty, or a name or an option cannot be used.
        FleetUnavailable: on entry: OpenSSH is not installed, or sshd refuses to start. The message quotes sshd.
        SshfanError: at the end: sshd had ended early, or something could not be removed.
        RuntimeError: on entry: this fleet was entered before.

    """

    def __init__(
        self,
        hosts: int | Sequence[str] = 3,
        *,
        sshd_options: Mapping[str, OptionValue] | None = None,
    ) -> None:
        self.hosts: tuple[str, ...] = _names(hosts)
        self._sshd_options = {} if sshd_options is None else _texts(sshd_options)
        for keyword in self._sshd_options:
            if keyword.lower() in RESERVED:
                raise InvalidSetting(f"sshd option {keyword} cannot be set: the fleet sets it itself")
        self._added: dict[str, dict[str, list[str]]] = {}
        self._server: Server | None = None
        self._spent = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        with self._lock:
            if self._spent:
                raise RuntimeError("an SshdFleet can be entered only once: create another one")
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
            return await in_thread(self.__enter__)
        except BaseException:
            # A native Task.cancel() does not wait for the thread, which may still be starting sshd.
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
                await in_thread(self._end)
        finally:
            self._end()  # a native Task.cancel() does not wait for the thread, but the lock in here does

    def __repr__(self) -> str:
        return f"<SshdFleet of {len(self.hosts)} hosts>"

    @property
    def directory(self) -> Path:
        """The private directory, with the keys, the configuration and the log."""
        return self._running.layout.directory

    @property
    def ssh_config(self) -> Path:
        """The configuration file for `ssh -F`."""
        return self._running.layout.ssh_config

    @property
    def ssh(self) -> Ssh:
        """The `ssh=` argument with which `fan_out`, `run` and the others reach this fleet."""
        return Ssh(config_file=self.ssh_config)

    @property
    def port(self) -> int:
        """The port of sshd on 127.0.0.1."""
        return self._running.port

    @property
    def sshd_pid(self) -> int:
        """The process id of the sshd that listens."""
        return self._running.pid

    def sshd_log(self) -> str:
        """Return the log of sshd up to now (at LogLevel VERBOSE)."""
        return self._running.layout.sshd_log.read_text(errors="backslashreplace")

    def add_host(self, name: str, *, options: Mapping[str, OptionValue]) -> None:
        """Add a host, or change one, with ssh_config(5) options, which replace the fleet's own.

        Use it for hosts that fail: `{"Port": 1}` refuses connections, `{"UserKnownHostsFile": "/dev/null"}` has an
        unknown host key, `{"PubkeyAuthentication": "no"}` refuses the login (IdentityFile would only add a key), and
        `{"ProxyJump": "node001"}` is reached through another host. The change applies to ssh processes that start
        later. The attribute `hosts` does not change.

        Raises:
            InvalidSetting: the name or an option cannot be used.
            RuntimeError: the fleet is not running.

        """
        _checked_name(name)
        texts = _texts(options)
        running = self._running
        self._added[name] = texts
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


def _names(hosts: object) -> tuple[str, ...]:
    if isinstance(hosts, int) and not isinstance(hosts, bool):
        if hosts < 1:
            raise InvalidSetting(f"hosts={hosts}: give at least 1")
        width = max(3, len(str(hosts)))
        return tuple(f"node{number:0{width}}" for number in range(1, hosts + 1))
    if isinstance(hosts, str):
        raise InvalidSetting(f"hosts={hosts!r}: give a number, or a sequence of names such as [{hosts!r}]")
    if not isinstance(hosts, Iterable):
        raise InvalidSetting(f"hosts={hosts!r}: give a number, or a sequence of names such as ['web1']")
    names = tuple(dict.fromkeys(map(_checked_name, hosts)))
    if not names:
        raise InvalidSetting(f"hosts={hosts!r}: give at least one name")
    return names


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or HOST_NAME.fullmatch(name) is None:
        raise InvalidSetting(
            f"host {name!r}: give a name of letters, digits, `.`, `-` and `_` that does not begin with `.` or `-`"
        )
    return name


def _texts(options: Mapping[str, OptionValue]) -> dict[str, list[str]]:
    """Check `options`, and return the values of each as they are written to the file."""
    if not isinstance(options, Mapping):
        raise InvalidSetting(f"options={options!r} is not a mapping: give {{'MaxSessions': 5}}, for example")
    for keyword, value in options.items():
        _check_option(keyword, value)
    return {keyword: option_texts(value) for keyword, value in options.items()}


def _check_option(keyword: object, value: OptionValue) -> None:
    if not isinstance(keyword, str) or KEYWORD.fullmatch(keyword) is None:
        raise InvalidSetting(f"option {keyword!r} is not the name of an option: give letters and digits only")
    listed = isinstance(value, Sequence) and all(isinstance(each, str) for each in value)
    if not isinstance(value, (str, int)) and not listed:
        raise InvalidSetting(f"option {keyword}={value!r}: give text, a number, True or False, or a list of texts")
    for text in option_texts(value):
        if CONTROL.search(text) is not None:
            raise InvalidSetting(f"option {keyword}={text!r}: give one line without control characters")
