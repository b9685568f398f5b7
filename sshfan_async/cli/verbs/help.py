"""`sshfan help [TOPIC]`: one screen for each topic, the man page, and shell completion."""

from __future__ import annotations

import click

from sshfan_async.cli.arguments.options import SETTINGS
from sshfan_async.cli.help_text.manual import manual
from sshfan_async.cli.help_text.topics import CODES, COMPLETION, TOPICS, Topic, overview
from sshfan_async.cli.output import STDOUT, write

__all__ = ["command"]

_WIDTH = 80
_NAMES = [*(topic.name for topic in TOPICS), "completion", "man"]


@click.command(context_settings=SETTINGS)
@click.argument("topic", type=click.Choice(_NAMES), required=False)
def command(topic: str | None) -> int:
    """Show the help screen of a topic. `man` prints the man page in roff format."""
    if topic is None:
        text = overview()
    elif topic == "man":
        text = manual()
    elif topic == "completion":
        text = _completion()
    else:
        text = screen(next(each for each in TOPICS if each.name == topic))
    write(STDOUT, text.encode())
    return 0


def screen(topic: Topic) -> str:
    """Return the help screen of one topic."""
    context = click.Context(click.Command("sshfan"))
    formatter = click.HelpFormatter(width=_WIDTH, max_width=_WIDTH)
    records = [record for option in topic.options if (record := option.get_help_record(context)) is not None]
    with formatter.section(topic.title):
        formatter.write_dl(records, col_max=24)
    for note in topic.notes:
        formatter.write_paragraph()
        formatter.write_text(note)
    if topic.name == "programs":
        with formatter.section("Exit code"):
            formatter.write_dl(CODES)
    with formatter.section("Examples"):
        for line, what in topic.examples:
            formatter.write(f"  {line}\n      {what}\n")
    return formatter.getvalue()


def _completion() -> str:
    lines = ["Completion: add the line for your shell to its file.", ""]
    for shell, line, file in COMPLETION:
        lines += [f"  {shell}, {file}:", f"    {line}"]
    return "".join(f"{line}\n" for line in lines)
