"""`--failed-to`: write the targets that are not `ok` to a file."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import click

from sshfan_async.cli.directory import NewFile, OutputDirectory
from sshfan_async.cli.output import OutputFailed

if TYPE_CHECKING:
    from sshfan_async.report import Report

__all__ = ["prepare_failed_to", "write_failed_to"]


def prepare_failed_to(path: str) -> None:
    """Check that the file can be replaced. Do not change it: it may be the --hostfile of this run.

    Raises:
        click.UsageError: the file cannot be replaced.

    """
    try:
        with _directory(path) as directory:
            directory.check(os.path.basename(path))
            directory.check_writable()
    except OSError as error:
        raise click.UsageError(_message(path, error)) from None


def write_failed_to(path: str, report: Report) -> None:
    """Replace the file by one with the targets that are not `ok`, one per line.

    Raises:
        OutputFailed: the file cannot be replaced.

    """
    try:
        with _directory(path) as directory:
            file = NewFile(directory, os.path.basename(path))
            try:
                file.append("".join(f"{outcome.target}\n" for outcome in report.not_ok).encode("ascii"))
                file.replace()
            finally:
                file.discard()
    except OSError as error:
        raise OutputFailed(_message(path, error)) from None


def _directory(path: str) -> OutputDirectory:
    folder, name = os.path.split(path)
    if name in ("", ".", ".."):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    return OutputDirectory("--failed-to", folder or ".")


def _message(path: str, error: OSError) -> str:
    return f"cannot write to --failed-to {path!r}: {error.strerror}"
