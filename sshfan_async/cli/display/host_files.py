"""`--outdir` and `--errdir`: write each host's output to a file of its own."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sshfan_async.event import HostFinished, HostOutput
from sshfan_async.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sshfan_async.event import Event, Stream

__all__ = ["HostFiles", "file_name"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._@:+-]")
_LONGEST = 200
"""Characters of a file name. NAME_MAX is 255 on most Linux file systems."""


class HostFiles:
    """The output files of one run: one directory for each stream, one file for each host."""

    def __init__(self, *, stdout: str | None, stderr: str | None, hosts: Collection[str]) -> None:
        """Create the directories and an empty file for each host, so no file of an earlier run stays.

        Raises:
            click.UsageError: a directory or a file cannot be created.

        """
        given: dict[Stream, str | None] = {"stdout": stdout, "stderr": stderr}
        self._paths = {stream: Path(directory) for stream, directory in given.items() if directory is not None}
        self.streams = frozenset(self._paths)
        self._failed: dict[str, str] = {}
        """By host: why its file could not be written."""
        for directory in self._paths.values():
            try:
                directory.mkdir(parents=True, exist_ok=True)
                for host in hosts:
                    (directory / file_name(host)).write_bytes(b"")
            except OSError as error:
                raise click.UsageError(f"cannot write to {error.filename!r}: {error.strerror}") from None

    def write(self, events: Iterable[Event]) -> list[Event]:
        """Write the output in `events`. Return the events; if a host's file failed, its outcome becomes `local`."""
        return [self._handle(event) for event in events]

    def _handle(self, event: Event) -> Event:
        if isinstance(event, HostOutput):
            self._write(event)
        elif isinstance(event, HostFinished) and (why := self._failed.get(event.outcome.host)) is not None:
            outcome = event.outcome
            reason = f"{why}; {outcome.reason}" if outcome.reason else why
            return replace(event, outcome=replace(outcome, status=Status.LOCAL, reason=reason))
        return event

    def _write(self, event: HostOutput) -> None:
        directory = self._paths.get(event.stream)
        if directory is None or event.host in self._failed:
            return
        path = directory / file_name(event.host)
        try:
            # Opened for each chunk: open files would count against the descriptors that the children need.
            with open(path, "ab", buffering=0) as file:
                left = memoryview(event.data)
                while left:
                    left = left[file.write(left) :]
        except OSError as error:
            self._failed[event.host] = f"cannot write to {os.fspath(path)!r}: {error.strerror}"


def file_name(host: str) -> str:
    """Return a safe file name for `host`: unsafe characters become `%2F` and the like; a long name is cut."""
    name = _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), host)
    if name.startswith("."):
        name = f"%2E{name[1:]}"  # neither `..` nor hidden
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 18]}%~{hashlib.sha256(host.encode()).hexdigest()[:16]}"
    return name
