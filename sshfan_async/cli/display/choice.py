"""What one wants to see of the hosts' output, as the options say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from sshfan_async.cli.display.host_files import HostFiles
    from sshfan_async.event import Stream

__all__ = ["DisplayChoice", "What"]

What: TypeAlias = Literal["live", "gather", "json", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayChoice:
    """`what`: lines as they come, equal output once, JSON, or nothing."""

    what: What = "live"
    with_stderr: bool = False
    """Gather standard error too."""
    as_diff: bool = False
    named: bool = True
    raw: bool = False
    files: HostFiles | None = None

    @property
    def streams(self) -> frozenset[Stream]:
        """The outputs that are shown as they come."""
        if self.what == "live":
            return frozenset(("stdout", "stderr"))
        if self.what == "gather" and not self.with_stderr:
            return frozenset(("stderr",))
        return frozenset()

    @property
    def followed(self) -> frozenset[Stream]:
        """The outputs that are shown, or written to files, as they come."""
        return self.streams if self.files is None else self.streams | self.files.streams
