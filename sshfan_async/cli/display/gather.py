"""Show equal output once, under the node set of its hosts: `-b`, `-B` and `--diff`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sshfan_async.cli.difference import Side, Steps, unified_diff
from sshfan_async.cli.display.fold import folded
from sshfan_async.cli.display.lines import escape_controls
from sshfan_async.cli.display.views import LiveView
from sshfan_async.cli.output import STDERR, STDOUT
from sshfan_async.cli.rules import RULE, mark_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.cli.display.lines import LineStyle
    from sshfan_async.cli.display.screen import Screen
    from sshfan_async.event import HostOutput
    from sshfan_async.outcome import Outcome

__all__ = ["GatherView"]

_CHUNK = 1024 * 1024


@dataclass(slots=True)
class _Group:
    """Hosts with the same output; the outcome of the first host keeps it."""

    first: Outcome
    hosts: list[str] = field(default_factory=list)


class GatherView:
    """Keeps one copy of each different output until all hosts have ended. Shows stderr live, unless gathered."""

    def __init__(self, screen: Screen, styles: dict[int, LineStyle], *, with_stderr: bool, as_diff: bool) -> None:
        self._screen = screen
        self._live = LiveView(screen, styles)
        self._style = styles[STDOUT]
        self._with_stderr = with_stderr
        self._as_diff = as_diff
        self._groups: dict[bytes, _Group] = {}

    def output(self, event: HostOutput) -> None:
        """Show standard error as it arrives."""
        self._live.output(event)

    def finished(self, outcome: Outcome) -> None:
        """Add the host to the group with the same output, or to none if it has no output."""
        self._live.finished(outcome)
        digest, size = hashlib.blake2b(digest_size=32), 0
        for stream in self._streams(outcome):
            with stream:
                length = 0
                while data := stream.read(_CHUNK):
                    digest.update(data)
                    length += len(data)
            digest.update(b"%d" % length)  # marks where stdout ends and stderr begins
            size += length
        if size > 0:
            if digest.digest() not in self._groups:
                first = outcome if self._with_stderr else replace(outcome, stderr_kept=b"")
                self._groups[digest.digest()] = _Group(first)
            self._groups[digest.digest()].hosts.append(outcome.host)

    def conclude(self, conclusion: Conclusion) -> None:
        """Show each output once, the most common first. On a terminal, a rule parts them from the summary."""
        groups = sorted(self._groups.values(), key=lambda group: -len(group.hosts))
        steps, common = Steps(), ""
        shown: Iterable[bytes]
        for number, group in enumerate(groups):
            hosts = folded(group.hosts)
            several = f" ({len(group.hosts)})" if len(group.hosts) > 1 else ""
            self._print_header(f"{hosts}{several}")
            if self._as_diff and number > 0:
                lines = unified_diff(self._side(common, groups[0]), self._side(hosts, group), steps)
                shown = (line[:1] + mark_rules(line[1:], in_diff=True) for line in lines)
            else:
                shown, common = map(mark_rules, self._group_output(group)), hosts
            for data in shown:
                self._screen.add(STDOUT, escape_controls(data) if self._style.escapes else data)
        if groups and os.isatty(STDOUT) and os.isatty(STDERR):
            self._print_coloured(RULE)

    def _print_header(self, hosts: str) -> None:
        self._print_coloured(b"\n".join((RULE, hosts.encode(), RULE)))

    def _print_coloured(self, lines: bytes) -> None:
        if self._style.before:
            lines = self._style.before + lines + b"\x1b[0m"
        self._screen.add(STDOUT, lines + b"\n")

    def _streams(self, outcome: Outcome) -> Iterator[BinaryIO]:
        yield outcome.open_stdout()
        if self._with_stderr:
            yield outcome.open_stderr()

    def _group_output(self, group: _Group) -> Iterator[bytes]:
        """Yield the output of a group in chunks that end with a whole line, unless a line is longer than a chunk."""
        for stream in self._streams(group.first):
            with stream:
                last = b""
                while data := stream.read(_CHUNK):
                    data += stream.readline(_CHUNK)
                    last = data
                    yield data
                if last and not last.endswith(b"\n"):
                    yield b"\n"

    def _side(self, hosts: str, group: _Group) -> Side:
        return Side(hosts, self._streams(group.first))
