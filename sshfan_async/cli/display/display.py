"""`Display`: show a run while it goes on, and its results."""

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
    """Shows the events of a run. The progress goes to stderr if that is a terminal."""

    def __init__(self, choice: DisplayChoice, hosts: int) -> None:
        self._choice = choice
        self._state = InFlight(hosts)
        self._stop_announced = False
        progress, styles = None, {descriptor: LineStyle(prefixed=choice.prefixed) for descriptor in (STDOUT, STDERR)}
        if os.isatty(STDOUT) or os.isatty(STDERR):  # importing rich takes 40 ms, and a pipe does not need it
            from sshfan_async.cli.display.console import stderr_console
            from sshfan_async.cli.display.progress import Progress

            console = stderr_console()
            styles = {each: line_style(each, console, prefixed=choice.prefixed, raw=choice.raw) for each in styles}
            # Not `console.is_terminal`: FORCE_COLOR makes rich call a pipe a terminal.
            if os.isatty(STDERR) and not console.is_dumb_terminal:
                progress = Progress(console, self._state)
        self._screen = Screen(progress)
        self._view = _view(choice, self._screen, styles, hosts)

    def handle(self, events: list[Event]) -> None:
        """Queue the output of `events` for the next `refresh`."""
        self._state.note(events)
        streams = self._choice.live_streams
        for event in events:
            if isinstance(event, HostOutput):
                if event.stream in streams:
                    self._view.output(event)
            elif isinstance(event, HostFinished):
                self._view.finished(event.outcome)

    def show_in_flight(self) -> None:
        """Print which hosts are in flight, in which phase and for how long."""
        self._screen.flush()
        for line in self._state.lines():
            say(line)

    def announce_stop(self, run: Run) -> None:
        """Print once which hosts a stop concerns. A command that ignores TERM delays the end until KILL."""
        if self._stop_announced:
            return
        self._stop_announced = True
        line = self._state.stop_line(run.on_stop, run.clocks.kill_after)
        if line is not None:
            self._screen.flush()
            say(line)

    def refresh(self) -> None:
        """Write the queued output, and redraw the progress if it is out of date."""
        self._screen.refresh()

    def flush(self) -> None:
        """Erase the progress and write the queued output."""
        self._screen.flush()

    def conclude(self, conclusion: Conclusion) -> None:
        """Show what can only be shown at the end: gathered output, the JSON summary."""
        self._view.conclude(conclusion)
        self._screen.flush()


def _view(choice: DisplayChoice, screen: Screen, styles: dict[int, LineStyle], hosts: int) -> View:
    if choice.mode == "json":
        return JsonView(screen)
    if choice.mode == "gather":
        from sshfan_async.cli.display.gather import GatherView

        return GatherView(screen, styles, with_stderr=choice.with_stderr, as_diff=choice.as_diff)
    if choice.mode == "live" and hosts == 1 and not choice.prefixed and not os.isatty(STDOUT):
        return BytesView(screen, styles)
    return LiveView(screen, styles)
