"""Build the command line that runs again on the hosts that failed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sshfan_async.cli.arguments.options import HOSTS
from sshfan_async.cli.display.fold import folded

if TYPE_CHECKING:
    from sshfan_async.report import Report

__all__ = ["run_again", "typed_options"]

_LONGEST = 1000
"""Characters of a node set. A longer one is too long to copy from a terminal."""


def typed_options(context: click.Context) -> list[str]:
    """Return the options of the command line that do not name hosts, in the form in which they are typed."""
    arguments: list[str] = []
    for param in context.command.params:
        if not isinstance(param, click.Option) or param in HOSTS or param.name is None:
            continue
        if context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
            arguments += _as_typed(param, context.params[param.name])
    return arguments


def _as_typed(option: click.Option, value: Any) -> list[str]:
    name = option.opts[0]
    if option.is_flag:
        return [name]
    values = value if option.multiple else [",".join(map(str, value)) if isinstance(value, tuple) else value]
    texts = [_text(each) for each in values]
    return [part for text in texts for part in ([f"{name}={text}"] if name.startswith("--") else [name, text])]


def _text(value: Any) -> str:
    if value is None:  # a time without a limit
        return "0"
    return f"{value:g}" if isinstance(value, float) else str(value)


def run_again(report: Report, options: list[str], words: tuple[str, ...], failed_to: str | None) -> str | None:
    """Return the command line for the hosts that are not `ok`; None if there are none, or too many to name."""
    if not report.not_ok:
        return None
    if failed_to is not None:
        hosts = [f"--hostfile={failed_to}"]
    else:
        hosts = ["-w", folded(outcome.host for outcome in report.not_ok)]
        if len(hosts[1]) > _LONGEST:
            return None
    return shlex.join(["sshfan", *hosts, *options, *_separated(words)])


def _separated(words: tuple[str, ...]) -> tuple[str, ...]:
    return ("--", *words) if words and words[0].startswith("-") else words
