"""All who can run one command on the hosts of a fleet, with the same keys, key exchange, hosts and fanout."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figures, command, worker
from benchmarks.startup import program
from sshfan_async.testing.configuration import ADDRESS, Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result
    from sshfan_async.testing import SshdFleet

__all__ = ["SSH_STARTERS", "peers"]

_PROGRAMS = {
    "xargs": "findutils (Debian)",
    "pdsh": "pdsh (Debian)",
    "clush": "clustershell (Debian)",
    "parallel-ssh": "pssh (Debian)",
}
_LIBRARIES = {"asyncssh": "asyncssh (pip)", "pssh.clients": "parallel-ssh (pip)"}

SSH_STARTERS = ("xargs", "pdsh", "clush", "pssh", "plain gather")
"""The peers that start ssh, as this package does."""


def peers(
    fleet: SshdFleet, remote: str, fanout: int, result: Result, *, libraries: bool
) -> dict[str, Callable[[], Figures]]:
    """Return every contender that is installed by its name; those that are not are noted in `result`.

    `libraries`: with the in-process ones, which do not know OpenSSH's default key exchange.
    """
    config, hosts = str(fleet.ssh_config), list(fleet.hosts)
    names = "\n".join(hosts)
    comma = ",".join(hosts)
    layout = Layout(fleet.directory)
    described = {
        "config": config,
        "hosts": hosts,
        "address": ADDRESS,
        "port": fleet.port,
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "key": str(layout.client_key),
        "known_hosts": str(layout.known_hosts),
    }
    given: dict[str, Any] = {"fleet": described, "command": remote, "fanout": fanout}
    options = f"-F {config} -oBatchMode=yes"
    width = str(fanout)
    found: dict[str, Callable[[], Figures]] = {
        "fan_out": partial(worker, "hosts-fan-out", **given, on_stop="leave"),
        "fan_out, on_stop=kill": partial(worker, "hosts-fan-out", **given, on_stop="kill"),
        "sshfan": partial(command, [*program(), "--ssh-config", config, "-f", width, "-w", comma, remote]),
        "plain gather": partial(worker, "hosts-gather", **given),
    }
    programs = {
        "xargs": partial(
            command,
            ["xargs", "-P", width, "-I", "{}", "ssh", *options.split(), "{}", remote],
            given=names,
        ),
        "pdsh": partial(
            command,
            ["pdsh", "-S", "-R", "ssh", "-f", width, "-w", comma, remote],
            variables={"PDSH_SSH_ARGS": f"{options} -x -l%u %h"},
        ),
        "clush": partial(command, ["clush", "-S", "-f", width, "-w", comma, "-o", options, remote]),
        "parallel-ssh": partial(
            command,
            ["parallel-ssh", "-i", "-t", "0", "-p", width, "-h", "/dev/stdin", "-x", options, remote],
            given=names,
        ),
    }
    for name, run in programs.items():
        if shutil.which(name) is None:
            result.missing(name, _PROGRAMS[name])
        else:
            found["pssh" if name == "parallel-ssh" else name] = run
    if libraries:
        for module, package in _LIBRARIES.items():
            name, task = (
                ("asyncssh", "hosts-asyncssh") if module == "asyncssh" else ("parallel-ssh", "hosts-parallel-ssh")
            )
            if importlib.util.find_spec(module.partition(".")[0]) is None:
                result.missing(name, package)
            else:
                found[name] = partial(worker, task, **given)
    return found
