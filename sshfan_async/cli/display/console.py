"""A rich console that renders text for our stderr."""

from __future__ import annotations

import io
import os

from rich.console import Console

from sshfan_async.cli.output import STDERR

__all__ = ["stderr_console"]


def stderr_console() -> Console:
    """Return a console with the width and colours of stderr. Use it with `capture()`, and write with `output.write`.

    The console does not write to stderr itself: after a hangup, even an empty write would raise.
    """
    terminal = True if os.isatty(STDERR) else None  # None: rich looks at FORCE_COLOR and the like
    return Console(file=io.StringIO(), force_terminal=terminal, highlight=False)
