"""Build the man page from the help topics: `sshfan help man > sshfan.1`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sshfan_async import __version__
from sshfan_async.cli.arguments.options import GENERAL
from sshfan_async.cli.help_text.topics import CODES, COMPLETION, PURPOSE, TOPICS, USAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["manual"]

_ENVIRONMENT = (
    ("WCOLL", "File of hosts, one node set per line. Used if no option names hosts."),
    ("FANOUT", "Default of -f."),
    ("NO_COLOR", "If set: no colours."),
    ("TERM", "If dumb: no colours and no progress display."),
    ("TMPDIR", "Directory for gathered output beyond 64 MiB and for standard input. Default: /var/tmp."),
)


def manual() -> str:
    """Return the man page in the macros of man(7)."""
    return "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    yield f'.TH SSHFAN 1 "" "sshfan {__version__}" "User Commands"'
    yield from (".SH NAME", f"sshfan \\- {_roff(PURPOSE[:1].lower() + PURPOSE[1:].rstrip('.'))}")
    yield from (".SH SYNOPSIS", f".B {_roff(USAGE)}", ".br", ".B sshfan shell \\-w NODES [OPTIONS]", ".br")
    yield from (".B sshfan demo [OPTIONS] [COMMAND]...", ".br", ".B sshfan help [TOPIC]")
    yield from (".SH DESCRIPTION", _roff(PURPOSE))
    yield "The options come first. COMMAND and its arguments go to the remote shell unchanged."
    for topic in TOPICS:
        yield f".SH {_roff(topic.title.upper())}"
        yield from _options(topic.options)
        for note in topic.notes:
            yield from (".PP", _roff(note))
    yield ".SH GENERAL OPTIONS"
    yield from _options(GENERAL)
    yield from (".SH EXAMPLES",)
    for topic in TOPICS:
        for line, what in topic.examples:
            yield from (".TP", f".B {_roff(line)}", _roff(what))
    yield ".SH EXIT STATUS"
    yield from _pairs(CODES)
    yield ".SH ENVIRONMENT"
    yield from _pairs(_ENVIRONMENT)
    yield from (".SH COMPLETION", "Add the line for your shell to its file:")
    yield from _pairs((f"{shell}, {file}", line) for shell, line, file in COMPLETION)
    yield from (".SH SEE ALSO", ".BR ssh (1),", ".BR ssh_config (5),", ".BR nodeset (1),", ".BR groups.conf (5)")


def _options(options: Iterable[click.Option]) -> Iterator[str]:
    context = click.Context(click.Command("sshfan"))
    records = (option.get_help_record(context) for option in options)
    return _pairs(record for record in records if record is not None)


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in pairs:
        yield from (".TP", f".B {_roff(term)}", _roff(text))


def _roff(text: str) -> str:
    r"""Escape `text` for roff: hyphens, quotes, backslashes, and a control character at the start of the line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith((".", "\\(aq")) else escaped
