"""What can go wrong in a benchmark."""

from __future__ import annotations

__all__ = ["RunFailed", "TooSlow", "Unavailable"]


class RunFailed(Exception):
    """A contender did not do its work, so its figures mean nothing."""


class TooSlow(RunFailed):
    """A contender did not finish before its timeout."""


class Unavailable(Exception):
    """This machine lacks something that a benchmark needs. The message says what, and what to install."""
