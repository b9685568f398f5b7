"""`DisplayChoice`: which output to show, and how, as the options say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from sshfan_async.cli.display.host_files import HostFiles
    from sshfan_async.event import Stream

__all__ = ["DisplayChoice", "Mode"]

Mode: TypeAlias = Literal["live", "gather", "json", "nothing"]


class DisplayChoice(NamedTuple):
    """The display options of one run."""

    mode: Mode = "live"
    """Lines as they arrive, equal output once, JSON, or nothing."""
    with_stderr: bool = False
    """Gather standard error as well as standard output."""
    as_diff: bool = False
    prefixed: bool = True
    raw: bool = False
    files: HostFiles | None = None

    @property
    def live_streams(self) -> frozenset[Stream]:
        """The streams that are shown as they arrive."""
        if self.mode == "live":
            return frozenset(("stdout", "stderr"))
        if self.mode == "gather" and not self.with_stderr:
            return frozenset(("stderr",))
        return frozenset()

    @property
    def needed_streams(self) -> frozenset[Stream]:
        """The streams that are shown, or written to files, as they arrive."""
        return self.live_streams if self.files is None else self.live_streams | self.files.streams
