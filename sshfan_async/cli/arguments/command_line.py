"""`CommandLine`: the parsed options of one command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from sshfan_async.cli.arguments.share import Share

__all__ = ["CommandLine"]


class CommandLine(NamedTuple):
    """The options and the command words, as converted by click. Times are in seconds; None means no limit."""

    node_sets: tuple[str, ...]
    excluded: tuple[str, ...]
    groups: tuple[str, ...]
    excluded_groups: tuple[str, ...]
    all_nodes: bool
    host_files: tuple[str, ...]
    list_only: bool
    dry_run: bool

    fanout: int
    user: str | None
    connect_timeout: float | None
    timeout: float | None
    deadline: float | None
    retries: int
    ssh_options: tuple[str, ...]
    ssh_config: str | None
    kill: Literal["stop", "always", "never"]
    send_stdin: bool
    script: str | None
    fail_fast: bool
    max_failures: Share | None
    batches: tuple[Share, ...] | None
    no_stdin: bool
    rcmd: Literal["ssh"] | None

    gather: bool
    gather_all: bool
    diff: bool
    no_prefix: bool
    quiet: bool
    raw: bool

    as_json: bool
    outdir: str | None
    errdir: str | None
    failed_to: str | None
    largest: bool

    debug: bool
    words: tuple[str, ...]

    @property
    def gathers(self) -> bool:
        """Whether equal output is shown once."""
        return self.gather or self.gather_all or self.diff
