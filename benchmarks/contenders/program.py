"""The `sshfan` program to measure."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["program"]


def program() -> list[str]:
    """Return the `sshfan` that is installed beside this interpreter, or else `python -m sshfan_async`."""
    beside = Path(sys.executable).with_name("sshfan")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "sshfan_async"]
