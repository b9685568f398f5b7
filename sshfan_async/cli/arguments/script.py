"""`--script FILE`: build the remote command that reads the local script from its standard input."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

import click

__all__ = ["script_command", "script_text"]

_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "mksh", "sh", "yash", "zsh"})
"""Shells that read a script from standard input with `-s` (POSIX, sh), and take its arguments after that."""


def script_text(path: str) -> bytes:
    """Read the script file.

    Raises:
        click.UsageError: the file cannot be read, or is empty.

    """
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise click.UsageError(f"cannot read --script {path!r}: {error.strerror}") from None
    if not text.strip():
        raise click.UsageError(f"--script {path!r} is empty: give a file with commands")
    return text


def script_command(text: bytes, arguments: tuple[str, ...]) -> str:
    """Return the command that runs the script `text` from its standard input, so no process list shows the script.

    The interpreter is the one that the `#!` line of the script names, or else `sh`.
    """
    first = text.split(b"\n", 1)[0]
    words = first[2:].decode("utf-8", "surrogateescape").split() if first.startswith(b"#!") else []
    interpreter = words or ["sh"]
    name = PurePosixPath(interpreter[0]).name
    if name == "env" and len(interpreter) > 1:
        name = PurePosixPath(interpreter[-1]).name
    if name in _SHELLS:
        return shlex.join([*interpreter, "-s", "--", *arguments])
    # Other interpreters open /dev/stdin by name. If it is the watchdog's FIFO, this open waits for another writer
    # (fifo(7)), which never comes if the script is short. A pipe opens at once.
    return f"cat | {shlex.join([*interpreter, '/dev/stdin', *arguments])}"
