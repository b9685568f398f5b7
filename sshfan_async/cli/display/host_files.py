"""`--outdir` and `--errdir`: write each host's output to a file of its own."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from sshfan_async.cli.directory import NewFile, OutputDirectory
from sshfan_async.cli.output import say
from sshfan_async.event import HostFinished, HostOutput
from sshfan_async.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sshfan_async.event import Event, Stream
    from sshfan_async.outcome import Outcome

__all__ = ["HostFiles", "file_name"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._@:+-]")
_LONGEST = 200
"""Characters of a file name. NAME_MAX is 255 on most Linux file systems."""


class HostFiles:
    """The output files of one run: one directory for each stream, one file for each host.

    Output goes to a temporary file, which replaces the host's file when the host has ended. A host that was not
    reached keeps its old file.
    """

    def __init__(self, *, stdout: str | None, stderr: str | None, hosts: Collection[str]) -> None:
        """Create the directories, and check that the files can be replaced. Warn if other users may write there.

        Raises:
            click.UsageError: a directory cannot be created, or a file cannot be replaced.

        """
        given: dict[Stream, tuple[str, str | None]] = {"stdout": ("--outdir", stdout), "stderr": ("--errdir", stderr)}
        self._by_stream: dict[Stream, OutputDirectory] = {}
        for stream, (option, path) in given.items():
            if path is not None:
                directory = _opened(option, path, hosts)
                for other in self._by_stream.values():
                    if other.identity == directory.identity:  # both outputs of a host go to one file
                        directory.close()
                        directory = other
                self._by_stream[stream] = directory
        self.streams = frozenset(self._by_stream)
        self._directories = tuple(dict.fromkeys(self._by_stream.values()))
        for directory in self._directories:
            if directory.others_may_write():
                say(f"sshfan: {directory}: other users can write in this directory, and exchange your files")
        self._files: dict[tuple[OutputDirectory, str], NewFile] = {}
        """By directory and host: the temporary files."""
        self._failed: dict[str, str] = {}
        """By host: why its file could not be written."""

    def write(self, events: Iterable[Event]) -> list[Event]:
        """Write the output in `events`. Return the events; if a host's file failed, its outcome becomes `local`."""
        return [self._handle(event) for event in events]

    def close(self) -> None:
        """Complete the files of hosts whose end was not handled, and close the directories."""
        for file in self._files.values():
            with suppress(OSError):
                file.replace()
            file.discard()
        self._files.clear()
        for directory in self._directories:
            directory.close()

    def _handle(self, event: Event) -> Event:
        if isinstance(event, HostOutput):
            directory = self._by_stream.get(event.stream)
            if directory is not None and event.host not in self._failed:
                self._append(directory, event.host, event.data)
        elif isinstance(event, HostFinished):
            self._complete(event.outcome)
            why = self._failed.get(event.outcome.host)
            if why is not None:
                outcome = event.outcome
                reason = f"{why}; {outcome.reason}" if outcome.reason else why
                return replace(event, outcome=replace(outcome, status=Status.LOCAL, reason=reason))
        return event

    def _append(self, directory: OutputDirectory, host: str, data: bytes) -> None:
        try:
            self._file(directory, host).append(data)
        except OSError as error:
            self._fail(directory, host, error)

    def _complete(self, outcome: Outcome) -> None:
        """Replace the old files of a host that may have run the command, or has written output."""
        host = outcome.host
        for directory in self._directories:
            if host not in self._failed and (outcome.sent or (directory, host) in self._files):
                try:
                    self._file(directory, host).replace()
                    del self._files[directory, host]
                except OSError as error:
                    self._fail(directory, host, error)

    def _file(self, directory: OutputDirectory, host: str) -> NewFile:
        file = self._files.get((directory, host))
        if file is None:
            file = self._files[directory, host] = NewFile(directory, file_name(host))
        return file

    def _fail(self, directory: OutputDirectory, host: str, error: OSError) -> None:
        """Keep the old files: the new ones are not whole. Their space on the disk may be what is missing."""
        self._failed[host] = directory.message(file_name(host), error)
        for each in self._directories:
            file = self._files.pop((each, host), None)
            if file is not None:
                file.discard()


def _opened(option: str, path: str, hosts: Collection[str]) -> OutputDirectory:
    try:
        os.makedirs(path, exist_ok=True)
        directory = OutputDirectory(option, path)
    except OSError as error:
        raise click.UsageError(f"cannot write to {option} {path!r}: {error.strerror}") from None
    name = ""
    try:
        directory.check_writable()
        for host in hosts:
            name = file_name(host)
            directory.check(name)
    except OSError as error:
        raise click.UsageError(directory.message(name, error)) from None
    return directory


def file_name(host: str) -> str:
    """Return a safe file name for `host`: unsafe characters become `%2F` and the like; a long name is cut."""
    name = _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), host)
    if name.startswith("."):
        name = f"%2E{name[1:]}"  # neither `..` nor hidden
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 18]}%~{hashlib.sha256(host.encode()).hexdigest()[:16]}"
    return name
