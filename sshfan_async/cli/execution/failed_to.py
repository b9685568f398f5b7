"""`--failed-to`: write the targets that are not `ok` to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sshfan_async.cli.output import OutputFailed

if TYPE_CHECKING:
    from sshfan_async.report import Report

__all__ = ["prepare_failed_to", "write_failed_to"]


def prepare_failed_to(path: str) -> None:
    """Check that the file can be written. Do not change it: it may be the --hostfile of this run.

    Raises:
        click.UsageError: the file cannot be written.

    """
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise click.UsageError(f"cannot write to --failed-to {path!r}: {error.strerror}") from None


def write_failed_to(path: str, report: Report) -> None:
    """Write the targets that are not `ok`, one per line.

    Raises:
        OutputFailed: the file cannot be written.

    """
    try:
        with open(path, "w", encoding="ascii") as file:
            file.writelines(f"{outcome.target}\n" for outcome in report.not_ok)
    except OSError as error:
        raise OutputFailed(f"cannot write to --failed-to {path!r}: {error.strerror}") from None
