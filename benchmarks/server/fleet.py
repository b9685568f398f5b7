"""`InstantFleet`: many host names for the server on which a host costs nothing."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.harness.cpus import on_cpu
from benchmarks.server.build import server_program
from sshfan_async.testing.configuration import Layout, known_hosts, ssh_config

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["InstantFleet"]

_USER = "user"
"""Any user can log in. For a user other than root, a fleet sends commands unwrapped, and asks sshd for signals."""


class InstantFleet:
    """Run the server on the CPU `cpu`, and write the ssh_config and the keys for it. Use it with `with`.

    It has the attributes of `SshdFleet` that a `Task` needs.
    """

    def __init__(self, hosts: int, *, cpu: int) -> None:
        self.hosts = tuple(f"node{number:0{max(3, len(str(hosts)))}}" for number in range(1, hosts + 1))
        self.directory: Path
        self.port: int
        self._cpu = cpu
        self._stack = ExitStack()

    @property
    def ssh_config(self) -> Path:
        return Layout(self.directory).ssh_config

    def __enter__(self) -> Self:
        program = server_program()
        with ExitStack() as stack:
            self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sshfan-benchmark-")))
            layout = Layout(self.directory)
            for key in (layout.host_key, layout.client_key):
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
            files = ["-host-key", str(layout.host_key), "-client-key", f"{layout.client_key}.pub"]
            server = stack.enter_context(
                subprocess.Popen(
                    on_cpu(self._cpu, [str(program), *files]),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "GOMAXPROCS": "1"},
                )
            )
            assert server.stdin is not None
            stack.callback(server.stdin.close)
            assert server.stdout is not None
            self.port = int(server.stdout.readline())
            layout.known_hosts.write_text(known_hosts(self.port, layout.host_key.with_suffix(".pub").read_text()))
            layout.ssh_config.write_text(ssh_config(layout, self.port, user=_USER, hosts=self.hosts, added={}))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()
