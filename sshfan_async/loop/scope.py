"""`CancelScope`: end a block of a task early, on request or at a deadline, as anyio's scope of this name does.

anyio's imports its asyncio backend on first use. That takes 20 ms, a fifth of what `sshfan` adds to one ssh.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CancelScope"]


class CancelScope:
    """Cancels the task once while it is in the `with` block. The block ends early, and the task goes on after it.

    The methods must be called in the loop of the task. They may be called before the block, and after it.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self._deadline = deadline
        self._is_cancelled = False
        self._delivered = False
        self._task: asyncio.Task[object] | None = None
        """The task, while it is in the block."""
        self._cancelling_before = 0
        self._call: asyncio.Handle | None = None
        """The next call of `cancel` at the deadline, or of `_deliver`."""

    @property
    def deadline(self) -> float:
        """When to cancel, in the seconds of `loop.time()`; infinite for never."""
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        self._deadline = deadline
        if not self._is_cancelled:
            self._arm()

    def cancel(self) -> None:
        """End the block early."""
        if not self._is_cancelled:
            self._is_cancelled = True
            self._drop_call()
            self._deliver()

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling_before = self._task.cancelling()
        if self._is_cancelled:
            self._deliver()
        else:
            self._arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        assert task is not None
        self._drop_call()
        if not self._delivered:
            return False
        # If somebody else has cancelled the task too, that cancellation goes on.
        return task.uncancel() <= self._cancelling_before and isinstance(error, asyncio.CancelledError)

    def _arm(self) -> None:
        self._drop_call()
        if self._task is not None and self._deadline < math.inf:
            self._call = asyncio.get_running_loop().call_at(self._deadline, self.cancel)

    def _deliver(self) -> None:
        if self._task is None:
            return
        waiter = self._task._fut_waiter  # type: ignore[attr-defined]  # anyio reads it too
        if self._task is not asyncio.current_task() and (waiter is None or not waiter.done()):
            self._delivered = True
            self._task.cancel()
        else:
            # The task runs, or will be woken. A cancellation now could reach it after the block.
            self._call = asyncio.get_running_loop().call_soon(self._deliver)

    def _drop_call(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
