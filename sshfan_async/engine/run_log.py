"""Log a run as structlog events, to the logger `sshfan_async`. Nothing is logged until that logger has a handler."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from sshfan_async.loop.loops import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.outcome import Outcome
    from sshfan_async.targets import Target

__all__ = ["RunLog"]

_NAME = "sshfan_async"
logging.getLogger(_NAME).addHandler(logging.NullHandler())


class RunLog:
    """The log of one run. Each event has the run's id; none has the text or the output of a command."""

    def __init__(self) -> None:
        self._logger: _Guarded | None = None

    async def open(self) -> None:
        """Set up structlog if the logger has a handler. The import takes 0.1 s, so it runs in a thread."""
        if _has_handler():
            logger = await in_thread(_structlog_logger)
            self._logger = _Guarded(logger.bind(run=os.urandom(4).hex()))

    def run_started(self, hosts: int, fanout: int) -> None:
        """Log the start of the run."""
        if self._logger is not None:
            self._logger.info("run started", hosts=hosts, fanout=fanout)

    def run_finished(self, elapsed: float) -> None:
        """Log the end of the run."""
        if self._logger is not None:
            self._logger.info("run finished", elapsed=round(elapsed, 3))

    def fanout_lowered(self, wanted: int, possible: int) -> None:
        """Log that the limit on open files allows fewer children at once than `wanted`."""
        if self._logger is not None:
            self._logger.warning(
                "fanout lowered",
                wanted=wanted,
                fanout=possible,
                why="the limit on open files (ulimit -n) allows no more ssh processes at once",
            )

    def host_started(self, target: Target, attempt: int) -> None:
        """Log the launch of an attempt."""
        if self._logger is not None:
            self._logger.info("host started", host=str(target), attempt=attempt)

    def host_delayed(self, target: Target, error: OSError) -> None:
        """Log that an attempt waits until this machine has room for it."""
        if self._logger is not None:
            self._logger.warning("host delayed", host=str(target), why=error.strerror or str(error))

    def host_sent(self, target: Target) -> None:
        """Log that the command was sent."""
        if self._logger is not None:
            self._logger.info("host sent", host=str(target))

    def host_retried(self, target: Target, attempt: int, reason: str, back_off: float) -> None:
        """Log that an attempt failed before the command was sent, and that another one follows."""
        if self._logger is not None:
            self._logger.warning(
                "host retried", host=str(target), attempt=attempt, reason=reason, back_off=round(back_off, 3)
            )

    def host_finished(self, outcome: Outcome) -> None:
        """Log the outcome of a target."""
        if self._logger is not None:
            self._logger.info(
                "host finished",
                host=str(outcome.target),
                status=outcome.status.value,
                exit_code=outcome.exit_code,
                sent=outcome.sent,
                attempts=outcome.attempts,
                elapsed=round(outcome.elapsed, 3),
                reason=outcome.reason,
            )


class _Guarded:
    """A logger whose errors go to the event loop's exception handler. A processor's error must not end a run."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def info(self, event: str, **fields: object) -> None:
        self._log(self._logger.info, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._log(self._logger.warning, event, fields)

    def _log(self, log: Callable[..., object], event: str, fields: dict[str, object]) -> None:
        try:
            log(event, **fields)
        except Exception as error:
            context = {"message": f"sshfan_async could not log {event!r}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


def _has_handler() -> bool:
    logger: logging.Logger | None = logging.getLogger(_NAME)
    assert logger is not None
    if not logger.isEnabledFor(logging.WARNING):
        return False
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _structlog_logger() -> Any:
    import structlog

    # Without a configuration, structlog prints to stdout, which belongs to the application.
    if structlog.is_configured():
        return structlog.wrap_logger(logging.getLogger(_NAME))
    return structlog.wrap_logger(
        logging.getLogger(_NAME),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
