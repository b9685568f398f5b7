"""rich's idea of our stderr, for making text that `output.write` then writes."""

from __future__ import annotations

import io
import os

from rich.console import Console

from sshfan_async.cli.output import STDERR

__all__ = ["stderr_console"]


def stderr_console() -> Console:
    """Return a console as wide and as colourful as stderr is; use it with `capture()`.

    It never touches stderr itself: after a hangup even an empty write of its own would raise.
    """
    terminal = True if os.isatty(STDERR) else None  # None: no terminal, unless FORCE_COLOR and its kind say so
    return Console(file=io.StringIO(), force_terminal=terminal, highlight=False)
