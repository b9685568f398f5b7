"""What the verbs' command lines have in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SECONDS", "SETTINGS", "command_words", "common_options"]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")

SETTINGS = {
    "help_option_names": ["-h", "--help"],
    # Options end where the command begins, so that its own reach it: `sshfan -w web1 ls -l`.
    "allow_interspersed_args": False,
    "max_content_width": 100,
}
"""Settings of every click command."""


class _Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.3 on
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{value!r} is not a number of seconds, 0 or more.", param, ctx)
        return seconds


SECONDS = _Seconds()
"""A clock: seconds as a finite number; 0 stands for no bound, as in pdsh."""

command_words = click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
"""All that follows the options, as it stands."""


def common_options(decorated: _Decorated) -> _Decorated:
    """Add the options that every verb has."""
    debug = click.option("--debug", is_flag=True, help="On an error, show the whole traceback.")
    return debug(decorated)
