"""`RunContext`: what all hosts and attempts of one run share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sshfan_async.engine.flow import Flow
    from sshfan_async.engine.pacing import Pacer
    from sshfan_async.engine.run import Run
    from sshfan_async.engine.run_log import RunLog
    from sshfan_async.engine.slots import Slots
    from sshfan_async.event import Event
    from sshfan_async.loop.timers import Timers
    from sshfan_async.process.client import Client
    from sshfan_async.process.log_pipe import LogPipes
    from sshfan_async.process.readers import Readers
    from sshfan_async.process.spawn_gate import SpawnGate
    from sshfan_async.process.watchdog import Wrapper
    from sshfan_async.stdio.capture import Store
    from sshfan_async.stdio.source import Source

__all__ = ["RunContext"]


class RunContext(NamedTuple):
    """Built by the supervisor, which closes the resources in it at the end of the run."""

    run: Run
    emit: Callable[[Event], None]
    run_log: RunLog
    pacer: Pacer
    slots: Slots
    flow: Flow

    client: Client
    executable: str
    """The path of ssh. `argv[0]` is its name, which ssh repeats in each line of its log."""
    common_argv: tuple[str, ...]
    wrapper: Wrapper | None
    """Wraps the command for each host; None if it is sent as it is."""
    environment: Mapping[bytes, bytes] | None

    null: int
    """A shared descriptor of the null device: to open one for each child is 4 % of the cost of a child."""
    source: Source | None
    gate: SpawnGate
    log_pipes: LogPipes
    readers: Readers
    timers: Timers
    store: Store
