"""What a run says of itself: structlog events under the logger name `sshfan_async`, silent unless configured."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from sshfan_async.outcome import Outcome
    from sshfan_async.targets import Target

__all__ = ["RunLog"]

_NAME = "sshfan_async"
logging.getLogger(_NAME).addHandler(logging.NullHandler())


class RunLog:
    """The events of one run, each with the run's id. Never a command's text, never its output."""

    def __init__(self) -> None:
        self._logger: Any = None

    async def open(self) -> None:
        """Get ready, if anybody listens; structlog is imported only then, and not on the loop: it takes 0.1 s."""
        if _somebody_listens():
            logger = await anyio.to_thread.run_sync(_structlog_logger)
            self._logger = logger.bind(run=secrets.token_hex(4))

    def run_started(self, hosts: int, fanout: int) -> None:
        """A run begins."""
        if self._logger is not None:
            self._logger.info("run started", hosts=hosts, fanout=fanout)

    def run_finished(self, elapsed: float) -> None:
        """All targets have ended."""
        if self._logger is not None:
            self._logger.info("run finished", elapsed=round(elapsed, 3))

    def fanout_lowered(self, wanted: int, possible: int) -> None:
        """The limit on open files leaves room for fewer children than asked for."""
        if self._logger is not None:
            self._logger.warning(
                "fanout lowered",
                wanted=wanted,
                fanout=possible,
                why="the limit on open files (ulimit -n) leaves room for no more ssh children at once",
            )

    def host_started(self, target: Target, attempt: int) -> None:
        """An attempt was launched."""
        if self._logger is not None:
            self._logger.info("host started", host=str(target), attempt=attempt)

    def host_sent(self, target: Target) -> None:
        """The command was sent."""
        if self._logger is not None:
            self._logger.info("host sent", host=str(target))

    def host_retried(self, target: Target, attempt: int, reason: str, back_off: float) -> None:
        """An attempt failed before the command was sent, and another one follows."""
        if self._logger is not None:
            self._logger.warning(
                "host retried", host=str(target), attempt=attempt, reason=reason, back_off=round(back_off, 3)
            )

    def host_finished(self, outcome: Outcome) -> None:
        """A target has its outcome."""
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


def _somebody_listens() -> bool:
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

    # Unconfigured, structlog prints to stdout, which is the application's.
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
