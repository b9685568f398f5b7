"""Work that must not be left half done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

__all__ = ["completed"]


async def completed(work: Awaitable[T], *, on_cancel: Callable[[], object] | None = None) -> T:
    """Await `work` to its end, as a task of its own; a cancellation of ours calls `on_cancel`, and is raised then.

    A shield alone would not do: it does not stop a native `task.cancel()`. Without one, a cancelled scope of anyio's
    would cancel us again in every turn of the loop.
    """
    task: asyncio.Future[T] = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            with anyio.CancelScope(shield=cancelled is not None):
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
