"""One object for each event loop: shared within it, made anew for the next one."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

from sshfan_async.loop.per_loop import PerLoop


class Thing:
    """Something that a loop has one of."""


async def test_one_loop_gets_the_same_object_each_time() -> None:
    things = PerLoop(Thing)
    assert things.get() is things.get()


def test_each_loop_gets_an_object_of_its_own() -> None:
    things = PerLoop(Thing)

    async def get() -> Thing:
        return things.get()

    assert asyncio.run(get()) is not asyncio.run(get())


def test_loop_in_another_thread_gets_an_object_of_its_own() -> None:
    things, found = PerLoop(Thing), list[Thing]()

    async def get() -> None:
        found.append(things.get())

    async def main() -> None:
        found.append(things.get())
        thread = threading.Thread(target=asyncio.run, args=(get(),))
        thread.start()
        thread.join()
        assert things.get() is found[0]

    asyncio.run(main())
    assert len(set(found)) == 2


def test_object_ends_with_its_loop() -> None:
    things = PerLoop(Thing)

    async def get() -> weakref.ref[Thing]:
        return weakref.ref(things.get())

    thing = asyncio.run(get())
    gc.collect()
    assert thing() is None
