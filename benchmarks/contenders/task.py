"""One command on all hosts of a fleet, as every contender takes it."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from sshfan_async.testing.configuration import ADDRESS, Layout

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Served", "Task"]


class Served(Protocol):
    """What a task needs to know of a fleet."""

    @property
    def hosts(self) -> tuple[str, ...]: ...
    @property
    def ssh_config(self) -> Path: ...
    @property
    def directory(self) -> Path: ...
    @property
    def port(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The command, the hosts, and the settings that a contender needs if it does not read ssh_config."""

    config: str
    hosts: tuple[str, ...]
    command: str
    fanout: int
    address: str
    port: int
    user: str
    key: str
    known_hosts: str

    @classmethod
    def on(cls, fleet: Served, command: str, fanout: int) -> Self:
        """Return the task to run `command` on every host of `fleet`."""
        layout = Layout(fleet.directory)
        return cls(
            config=str(fleet.ssh_config),
            hosts=fleet.hosts,
            command=command,
            fanout=fanout,
            address=ADDRESS,
            port=fleet.port,
            user=pwd.getpwuid(os.geteuid()).pw_name,
            key=str(layout.client_key),
            known_hosts=str(layout.known_hosts),
        )
