"""`--script FILE`: build the remote command that reads the local script from its standard input."""

from __future__ import annotations

import shlex

import click

__all__ = ["script_command", "script_text"]

# $1: the size of the script; the other arguments are the command that reads it. A script that is read while it comes
# would be read by its own commands too. The file loses its name before anything is written, so nothing can be left.
# Each redirection opens it anew, and starts at offset 0.
_RECEIVE = """
f=$(mktemp "${TMPDIR:-/tmp}/sshfan.XXXXXXXX") || exit 125;
exec 3<"$f" 4<"$f" 5>"$f";
rm -f "$f";
cat >&5;
exec 5>&- </dev/null;
[ $(wc -c <&4) -eq $1 ] || { echo "sshfan: the script has not arrived whole, and was not run" >&2; exit 125; };
exec 4<&-;
shift;
exec "$@"
"""
_PATH = "/dev/fd/3"


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
    receiver = " ".join(_RECEIVE.split())
    return shlex.join(["exec", "sh", "-c", receiver, "sshfan", str(len(text)), *(words or ["sh"]), _PATH, *arguments])
