"""`--script FILE`: a local script → the command that reads it from its standard input, and that input."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

import click

__all__ = ["script_command", "script_text"]

_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "mksh", "sh", "yash", "zsh"})
"""They read a script from standard input with `-s` (POSIX, sh), and its arguments follow."""


def script_text(path: str) -> bytes:
    """Return what `path` holds.

    Raises:
        click.UsageError: it cannot be read, or is empty.

    """
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise click.UsageError(f"cannot read the script {path!r}: {error.strerror}") from None
    if not text.strip():
        raise click.UsageError(f"the script {path!r} is empty")
    return text


def script_command(text: bytes, arguments: tuple[str, ...]) -> str:
    """Return the command that runs the script `text` from its standard input: nobody's process list shows it.

    Its first line names the interpreter, `#!/usr/bin/env python3`; `sh` where it does not.
    """
    first = text.split(b"\n", 1)[0]
    words = first[2:].decode("utf-8", "surrogateescape").split() if first.startswith(b"#!") else []
    interpreter = words or ["sh"]
    name = PurePosixPath(interpreter[0]).name
    if name == "env" and len(interpreter) > 1:
        name = PurePosixPath(interpreter[-1]).name
    if name in _SHELLS:
        return shlex.join([*interpreter, "-s", "--", *arguments])
    # Others open it by its name. Where standard input is the watchdog's FIFO, that waits for a writer once more
    # (fifo(7)), and none comes when the script is short; a pipe can be opened so at any time.
    return f"cat | {shlex.join([*interpreter, '/dev/stdin', *arguments])}"
