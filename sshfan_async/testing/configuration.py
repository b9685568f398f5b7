"""Write the texts of sshd_config, ssh_config and known_hosts for a test fleet. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["ADDRESS", "RESERVED", "Layout", "known_hosts", "ssh_config", "sshd_config"]

ADDRESS = "127.0.0.1"
RESERVED = frozenset({"listenaddress", "pidfile", "port"})
"""sshd options that a user cannot set: with them, the fleet knows where and when sshd listens."""
NAMES_PER_BLOCK = 100
"""The time that ssh takes for a Host line grows with the square of its names (readconf.c: argv_split)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a fleet's private directory."""

    directory: Path

    @property
    def host_key(self) -> Path:
        """The private key of the server; the public key is in `host_key.pub`."""
        return self.directory / "host_key"

    @property
    def client_key(self) -> Path:
        """The private key that every host of the fleet accepts."""
        return self.directory / "client_key"

    @property
    def known_hosts(self) -> Path:
        """The server's public key, for the clients."""
        return self.directory / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """The clients' configuration."""
        return self.directory / "ssh_config"

    @property
    def sshd_config(self) -> Path:
        """The server's configuration."""
        return self.directory / "sshd_config"

    @property
    def sshd_log(self) -> Path:
        """The standard error of sshd."""
        return self.directory / "sshd.log"

    @property
    def pid_fifo(self) -> Path:
        """The PidFile: sshd writes it when it listens (sshd.c: main). It is a FIFO, so we can wait for that."""
        return self.directory / "pid"

    @property
    def home(self) -> Path:
        """The HOME of remote commands."""
        return self.directory / "home"


def sshd_config(
    layout: Layout,
    port: int,
    *,
    version: tuple[int, int],
    use_pam: bool,
    options: Mapping[str, str | Sequence[str]],
) -> str:
    """Return the server's configuration: our defaults, with `options` in place of those that they name."""
    needed = {"ListenAddress": ADDRESS, "Port": str(port), "PidFile": _quoted(layout.pid_fifo)}
    defaults = {
        "AuthorizedKeysFile": _quoted(f"{layout.client_key}.pub"),
        "HostKey": _quoted(layout.host_key),
        "LogLevel": "VERBOSE",
        "MaxSessions": "4096",
        "MaxStartups": "4096",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "yes",
        "PermitUserEnvironment": "no",
        "PermitUserRC": "no",
        "PrintLastLog": "no",
        "PrintMotd": "no",
        # A private HOME keeps shells from the user's own start-up files (bash under sshd: ~/.bashrc, zsh: ~/.zshenv).
        "SetEnv": _quoted(f"HOME={layout.home}"),
        # The check fails if a directory above the key is world-writable, such as /tmp (auth.c: safe_path).
        "StrictModes": "no",
        "Subsystem": "sftp internal-sftp",
        "UsePAM": "yes" if use_pam else "no",
    }
    if version >= (9, 8):
        defaults["PerSourcePenalties"] = "no"
    given = {keyword.lower() for keyword in options}
    kept = {keyword: value for keyword, value in defaults.items() if keyword.lower() not in given}
    return _lines({**needed, **kept, **options})


def ssh_config(
    layout: Layout,
    port: int,
    *,
    user: str,
    hosts: Sequence[str],
    added: Mapping[str, Mapping[str, str | Sequence[str]]],
) -> str:
    """Return the clients' configuration. The options of added hosts come first: ssh uses the first value.

    Names outside the fleet get no address, but with them too, ssh does not use the user's keys and known hosts.
    """
    names = [*hosts, *(name for name in added if name not in hosts)]
    address = {"HostName": ADDRESS, "Port": str(port)}
    starts = range(0, len(names), NAMES_PER_BLOCK)
    blocks = [
        *(_block([name], options) for name, options in added.items()),
        *(_block(names[start : start + NAMES_PER_BLOCK], address) for start in starts),
    ]
    private = {
        "User": user,
        "IdentityFile": _quoted(layout.client_key),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": _quoted(layout.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CanonicalizeHostname": "no",
    }
    return "\n".join([*blocks, _block(["*"], private)])


def known_hosts(port: int, host_key: str) -> str:
    """Return one line for all hosts: ssh looks up `[HostName]:Port` (sshconnect.c)."""
    return f"[{ADDRESS}]:{port} {host_key}"


def _block(names: Sequence[str], options: Mapping[str, str | Sequence[str]]) -> str:
    return f"Host {' '.join(names)}\n{_lines(options)}"


def _lines(options: Mapping[str, str | Sequence[str]]) -> str:
    return "".join(
        f"{keyword} {value}\n"
        for keyword, values in options.items()
        for value in ([values] if isinstance(values, str) else values)
    )


def _quoted(path: Path | str) -> str:
    return f'"{path}"'
