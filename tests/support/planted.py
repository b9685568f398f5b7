"""What another user may have put in the place of a file that we write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLANTED = ("symbolic link", "FIFO", "directory")
"""The kinds, in the words of the message that refuses them."""


def plant(kind: str, path: Path, victim: Path) -> None:
    """Put a file of `kind` at `path`; a link points to `victim`."""
    if kind == "symbolic link":
        path.symlink_to(victim)
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        path.mkdir()
