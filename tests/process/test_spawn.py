from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from sshfan_async.process.spawn import ExitCodesLost, Spawning, check_exit_codes
from tests.support.processes import PATIENCE, children, descriptors, is_gone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

MOST_TURNS = 100
"""More turns of the loop than any start takes."""


def spawning(*argv: str, **options: Any) -> Spawning:
    return Spawning(*argv, stdin=asyncio.subprocess.DEVNULL, start_new_session=True, **options)


async def end(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.communicate()


async def test_child_exists_before_the_first_wait() -> None:
    before = children()
    starting = spawning("sleep", "60")
    (pid,) = children() - before
    process = await starting.process()
    assert process.pid == pid
    await end(process)


async def test_exit_code_and_output_arrive() -> None:
    process = await spawning("sh", "-c", "echo out; exit 7", stdout=asyncio.subprocess.PIPE).process()
    output, _ = await process.communicate()
    assert output == b"out\n"
    assert process.returncode == 7


async def test_program_that_does_not_exist_raises_at_once_and_leaves_nothing_open() -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        spawning("/nowhere/ssh", stdout=asyncio.subprocess.PIPE)
    assert descriptors() == before


# cancellation


async def _task(start: Callable[[], Awaitable[Any]], turns: int) -> Any:
    task = asyncio.ensure_future(start())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    return await task


async def _task_in_every_turn(start: Callable[[], Awaitable[Any]], turns: int) -> Any:
    task = asyncio.ensure_future(start())
    for _ in range(turns):
        await asyncio.sleep(0)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    return await task


async def _every_task_of_the_loop(start: Callable[[], Awaitable[Any]], turns: int) -> Any:
    others = asyncio.all_tasks()
    task = asyncio.ensure_future(start())
    for _ in range(turns):
        await asyncio.sleep(0)
    for each in asyncio.all_tasks() - others:
        each.cancel()
    return await task


async def _scope(start: Callable[[], Awaitable[Any]], turns: int) -> Any:
    with anyio.CancelScope() as scope:
        after = asyncio.ensure_future(_cancel_after(scope, turns))
        process = await start()
        after.cancel()
        return process
    raise asyncio.CancelledError  # the scope took the cancellation


async def _cancel_after(scope: anyio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    scope.cancel()


@pytest.mark.parametrize("cancel", [_task, _task_in_every_turn, _every_task_of_the_loop, _scope])
async def test_cancellation_in_any_turn_of_the_loop_leaves_no_child(cancel: Callable[..., Awaitable[Any]]) -> None:
    begun: list[Spawning] = []

    async def start() -> asyncio.subprocess.Process:
        begun.append(spawning("sleep", "60"))
        return await begun[-1].process()

    await end(await start())  # the first child of a loop opens descriptors that stay open
    before, open_before = children(), descriptors()
    cancelled = 0
    for turns in range(MOST_TURNS):
        begun.clear()
        try:
            async with asyncio.timeout(PATIENCE):
                process = await cancel(start, turns)
        except asyncio.CancelledError:
            cancelled += len(begun)
            assert children() == before
        else:
            await end(process)
            break
    else:
        pytest.fail(f"no start was over after {MOST_TURNS} turns of the loop")
    assert cancelled > 0
    assert children() == before
    assert descriptors().keys() <= open_before.keys()


async def test_cancellation_kills_what_the_child_has_started() -> None:
    read_end, write_end = os.pipe()
    starting = spawning("sh", "-c", "sleep 60 & echo $!; wait", stdout=write_end)
    os.close(write_end)
    grandchild = int(os.read(read_end, 100))
    os.close(read_end)
    task = asyncio.ensure_future(starting.process())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(PATIENCE):
        while not is_gone(grandchild):
            await asyncio.sleep(0)


# exit codes


@pytest.fixture
def ignored_children() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("ignored_children")
def test_ignored_sigchld_is_an_error_that_names_it() -> None:
    with pytest.raises(
        ExitCodesLost, match=r"SIGCHLD is ignored.*signal\.signal\(signal\.SIGCHLD, signal\.SIG_DFL\)"
    ):
        check_exit_codes()


def test_handled_or_default_sigchld_is_no_error() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    try:
        for handler in (signal.SIG_DFL, lambda *_: None):
            signal.signal(signal.SIGCHLD, handler)
            check_exit_codes()
    finally:
        signal.signal(signal.SIGCHLD, before)
