"""What one sees of a run: the hosts' output, the progress, and at a Ctrl-C what is in flight."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sshfan_async.cli.display.in_flight import InFlight
from sshfan_async.cli.display.lines import LineStyle
from sshfan_async.cli.display.screen import Screen, line_style
from sshfan_async.cli.display.views import BytesView, JsonView, LiveView
from sshfan_async.cli.output import STDERR, STDOUT, say
from sshfan_async.event import HostFinished, HostOutput

if TYPE_CHECKING:
    from sshfan_async.cli.conclusion import Conclusion
    from sshfan_async.cli.display.choice import DisplayChoice
    from sshfan_async.cli.display.views import View
    from sshfan_async.engine.run import Run
    from sshfan_async.event import Event

__all__ = ["Display"]


class Display:
    """Takes the events of a run; the progress goes to stderr where that is a terminal."""

    def __init__(self, choice: DisplayChoice, hosts: int) -> None:
        self._choice = choice
        self._state = InFlight(hosts)
        self._end_told = False
        progress, styles = None, {descriptor: LineStyle(named=choice.named) for descriptor in (STDOUT, STDERR)}
        if os.isatty(STDOUT) or os.isatty(STDERR):  # rich takes 40 ms, and has nothing to do in a pipe
            from sshfan_async.cli.display.console import stderr_console
            from sshfan_async.cli.display.progress import Progress

            console = stderr_console()
            styles = {each: line_style(each, console, named=choice.named, raw=choice.raw) for each in styles}
            # Not `console.is_terminal`: FORCE_COLOR makes rich call a pipe a terminal.
            if os.isatty(STDERR) and not console.is_dumb_terminal:
                progress = Progress(console, self._state)
        self._screen = Screen(progress)
        self._view = _view(choice, self._screen, styles, hosts)

    def take(self, events: list[Event]) -> None:
        """Show what has happened, or collect it to be shown by `refresh`."""
        self._state.note(events)
        streams = self._choice.streams
        for event in events:
            if isinstance(event, HostOutput):
                if event.stream in streams:
                    self._view.output(event)
            elif isinstance(event, HostFinished):
                self._view.finished(event.outcome)

    def tell_in_flight(self) -> None:
        """Say what is running, in which phase and for how long."""
        self._screen.close()
        for line in self._state.lines():
            say(line)

    def tell_end(self, run: Run) -> None:
        """Say once whom the end of the run concerns; a command that minds no TERM keeps us until its KILL."""
        if self._end_told:
            return
        self._end_told = True
        line = self._state.end_line(run.on_stop, run.clocks.kill_after)
        if line is not None:
            self._screen.close()
            say(line)

    def refresh(self) -> None:
        """Write what was collected, and draw the progress anew where that is due."""
        self._screen.refresh()

    def close(self) -> None:
        """Take the progress away and write what was collected."""
        self._screen.close()

    def conclude(self, conclusion: Conclusion) -> None:
        """Show what is shown at the end only."""
        self._view.conclude(conclusion)
        self._screen.close()


def _view(choice: DisplayChoice, screen: Screen, styles: dict[int, LineStyle], hosts: int) -> View:
    if choice.what == "json":
        return JsonView(screen)
    if choice.what == "gather":
        from sshfan_async.cli.display.gather import GatherView

        return GatherView(screen, styles, with_stderr=choice.with_stderr, as_diff=choice.as_diff)
    if choice.what == "live" and hosts == 1 and not choice.named and not os.isatty(STDOUT):
        return BytesView(screen)
    return LiveView(screen, styles)
