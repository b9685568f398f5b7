"""Equal output shown once, under the node set of its hosts: `-b`, `-B` and `--diff`."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sshfan_async.cli.display.fold import folded
from sshfan_async.cli.display.lines import neutral
from sshfan_async.cli.display.views import LiveView
from sshfan_async.cli.output import STDOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.cli.display.lines import LineStyle
    from sshfan_async.cli.display.screen import Screen
    from sshfan_async.event import HostOutput
    from sshfan_async.outcome import Outcome

__all__ = ["GatherView"]

_RULE = b"---------------"  # as clush draws it
_CHUNK = 1024 * 1024


@dataclass(slots=True)
class _Group:
    """Hosts with the same output, which the first of them keeps for all."""

    first: Outcome
    hosts: list[str] = field(default_factory=list)


class GatherView:
    """Keeps one copy of each different output until all hosts have ended. Standard error: live, unless gathered."""

    def __init__(self, screen: Screen, styles: dict[int, LineStyle], *, with_stderr: bool, as_diff: bool) -> None:
        self._screen = screen
        self._live = LiveView(screen, styles)
        self._style = styles[STDOUT]
        self._with_stderr = with_stderr
        self._as_diff = as_diff
        self._groups: dict[bytes, _Group] = {}

    def output(self, event: HostOutput) -> None:
        """Show standard error."""
        self._live.output(event)

    def finished(self, outcome: Outcome) -> None:
        """Put the host where others have the same output; without any it is nowhere."""
        self._live.finished(outcome)
        digest, size = hashlib.blake2b(digest_size=32), 0
        for stream in self._streams(outcome):
            with stream:
                length = 0
                while data := stream.read(_CHUNK):
                    digest.update(data)
                    length += len(data)
            digest.update(b"%d" % length)  # what one stream ends with is not what the other begins with
            size += length
        if size > 0:
            if digest.digest() not in self._groups:
                first = outcome if self._with_stderr else replace(outcome, stderr_kept=b"")
                self._groups[digest.digest()] = _Group(first)
            self._groups[digest.digest()].hosts.append(outcome.host)

    def conclude(self, conclusion: Conclusion) -> None:
        """Show each output once, the commonest first."""
        groups = sorted(self._groups.values(), key=lambda group: -len(group.hosts))
        for number, group in enumerate(groups):
            several = f" ({len(group.hosts)})" if len(group.hosts) > 1 else ""
            self._head(f"{folded(group.hosts)}{several}")
            shown = self._difference(groups[0], group) if self._as_diff and number > 0 else self._body(group)
            for data in shown:
                self._screen.add(STDOUT, neutral(data) if self._style.neutralised else data)
                self._screen.close()

    def _head(self, who: str) -> None:
        lines = b"\n".join((_RULE, who.encode(), _RULE))
        if self._style.before:
            lines = self._style.before + lines + b"\x1b[0m"
        self._screen.add(STDOUT, lines + b"\n")

    def _streams(self, outcome: Outcome) -> Iterator[BinaryIO]:
        yield outcome.open_stdout()
        if self._with_stderr:
            yield outcome.open_stderr()

    def _body(self, group: _Group) -> Iterator[bytes]:
        """Yield the output of a group in whole lines, or whole chunks where those are long."""
        for stream in self._streams(group.first):
            with stream:
                last = b""
                while data := stream.read(_CHUNK):
                    data += stream.readline(_CHUNK)
                    last = data
                    yield data
                if last and not last.endswith(b"\n"):
                    yield b"\n"

    def _difference(self, common: _Group, group: _Group) -> Iterator[bytes]:
        lines = difflib.diff_bytes(
            difflib.unified_diff,
            self._split(common),
            self._split(group),
            folded(common.hosts).encode(),
            folded(group.hosts).encode(),
        )
        yield b"".join(lines)

    def _split(self, group: _Group) -> list[bytes]:
        return [line + b"\n" for line in b"".join(self._body(group)).split(b"\n")[:-1]]
