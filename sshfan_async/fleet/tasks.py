"""Work that must not be left half done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

__all__ = ["completed"]


async def completed(work: Awaitable[T], *, on_cancel: Callable[[], object] | None = None) -> T:
    """Await `work` to its end, as a task of its own; a cancellation of ours calls `on_cancel`, and is raised then.

    A shield would not do: it does not stop a native `task.cancel()`.
    """
    task: asyncio.Future[T] = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            if on_cancel is not None:
                on_cancel()
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # whoever is cancelled asks for no error
    raise cancelled
