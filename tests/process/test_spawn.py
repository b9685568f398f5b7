from __future__ import annotations

import asyncio
import errno
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async.process.spawn import ExitCodesLost, check_exit_codes, start_program
from tests.support.processes import children, descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator


def start(*argv: str, **options: Any) -> asyncio.subprocess.Process:
    return start_program(*argv, stdin=asyncio.subprocess.DEVNULL, start_new_session=True, **options)


def output_of(program: str, *argv: str, **options: Any) -> tuple[asyncio.subprocess.Process, int]:
    """Start a program; return it, and the end of a pipe from which its output can be read."""
    read_end, write_end = os.pipe()
    try:
        return start(program, *argv, stdout=write_end, **options), read_end
    finally:
        os.close(write_end)


async def end(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


async def test_child_exists_and_no_task_of_asyncio_is_left_behind() -> None:
    before, tasks = children(), asyncio.all_tasks()
    process = start("sleep", "60")
    assert children() - before == {process.pid}
    assert asyncio.all_tasks() == tasks
    await end(process)


async def test_exit_code_and_output_arrive() -> None:
    process, output = output_of("sh", "-c", "echo out; exit 7")
    assert await process.wait() == 7
    assert os.read(output, 100) == b"out\n"
    os.close(output)


async def test_program_that_does_not_exist_raises_at_once_and_leaves_nothing_open() -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        start("/nowhere/ssh")
    assert descriptors() == before


async def test_task_factory_of_the_application_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, made = asyncio.get_running_loop(), []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    try:
        await end(start("sleep", "60"))
        with pytest.raises(FileNotFoundError):
            start("/nowhere/ssh")
        assert loop.get_task_factory() is factory
        assert made == []
    finally:
        loop.set_task_factory(None)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), OSError(errno.EMFILE, "too many")])
async def test_child_that_asyncio_cannot_watch_is_killed_and_reaped(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    before, open_before = children(), descriptors()

    class Watcher:
        """Fails as a watcher does without a free thread or descriptor."""

        def is_active(self) -> bool:
            return True

        def __enter__(self) -> Watcher:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def add_child_handler(self, *_: object) -> None:
            assert children() != before
            raise error

    monkeypatch.setattr(asyncio.get_event_loop_policy(), "get_child_watcher", Watcher)
    with pytest.raises(OSError, match=r"temporarily unavailable|too many"):
        start("sleep", "60")
    assert children() == before
    await asyncio.sleep(0)
    assert descriptors() == open_before


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
