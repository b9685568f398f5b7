"""Shell completion with click's protocol: `eval "$(_SSHFAN_COMPLETE=bash_source sshfan)"`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click
from click.shell_completion import shell_complete

from sshfan_async.cli.verbs.run import command

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["complete"]


def complete(instruction: str, verbs: Mapping[str, str]) -> int:
    """Answer the shell's request (`bash_source`, `bash_complete`, …) and return the exit code."""
    everything = click.Group(
        "sshfan",
        params=[param for param in command.params if isinstance(param, click.Option)],
        commands={verb: import_module(module).command for verb, module in verbs.items() if verb.isalpha()},
    )
    return shell_complete(everything, {}, "sshfan", "_SSHFAN_COMPLETE", instruction)
