from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import run
from sshfan_async.legacy import STATUS_SUCC
from sshfan_async.process import exits
from sshfan_async.process.exits import Exit, start_watched
from sshfan_async.process.readers import make_readers
from tests.support.processes import children, descriptors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sshfan_async import Ssh
    from sshfan_async.process.readers import Readers

before_3_14 = pytest.mark.skipif(sys.version_info >= (3, 14), reason="a loop policy has no child watcher then")


@pytest.fixture
async def readers() -> AsyncIterator[Readers]:
    readers = make_readers(asyncio.get_running_loop())
    yield readers
    readers.close()


@pytest.fixture
def without_pidfds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    exits._has_pidfds.cache_clear()
    yield
    exits._has_pidfds.cache_clear()


class Started:
    """A program, and the future of its return code."""

    def __init__(self, readers: Readers, *argv: str) -> None:
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.exit: Exit = start_watched(
            readers, self.code.set_result, *argv, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )


async def test_return_code_arrives_and_nothing_is_left(readers: Readers) -> None:
    before, open_before = children(), descriptors()
    assert await Started(readers, "sh", "-c", "exit 7").code == 7
    assert await Started(readers, "sh", "-c", "kill -9 $$").code == -signal.SIGKILL
    assert children() == before
    await asyncio.sleep(0)
    assert descriptors() == open_before


@pytest.mark.usefixtures("without_pidfds")
async def test_return_code_arrives_on_a_kernel_without_pidfds(readers: Readers) -> None:
    started = Started(readers, "sh", "-c", "read x; exit 7")
    assert await started.code == 7
    assert started.exit.has_happened()


@before_3_14
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of watchers, on 3.12 and 3.13
async def test_watcher_of_the_application_that_reaps_every_child_is_left_in_charge(readers: Readers) -> None:
    watcher = asyncio.FastChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    asyncio.set_child_watcher(watcher)
    try:
        assert await Started(readers, "sh", "-c", "exit 7").code == 7
    finally:
        asyncio.set_child_watcher(None)  # type: ignore[arg-type]
        watcher.close()


async def test_no_thread_waits_for_a_child(readers: Readers) -> None:
    threads = threading.active_count()
    started = Started(readers, "sleep", "60")
    assert threading.active_count() == threads
    os.kill(started.exit.pid, signal.SIGKILL)
    await started.code


@before_3_14
async def test_exit_is_reported_in_the_call_that_looks_for_it(readers: Readers) -> None:
    started = Started(readers, "true")
    os.waitid(os.P_PID, started.exit.pid, os.WEXITED | os.WNOWAIT)
    assert not started.code.done()
    assert started.exit.has_happened()
    assert started.code.result() == 0


async def test_child_that_runs_has_not_exited(readers: Readers) -> None:
    started = Started(readers, "sleep", "60")
    assert not started.exit.has_happened()
    os.kill(started.exit.pid, signal.SIGKILL)
    assert await started.code == -signal.SIGKILL
    assert started.exit.has_happened()


async def test_asyncio_learns_of_the_exit_and_keeps_nothing(readers: Readers) -> None:
    def transports() -> int:
        return sum(isinstance(each, asyncio.SubprocessTransport) for each in gc.get_objects())

    gc.collect()
    before = transports()
    code = Started(readers, "true").code
    assert transports() == before + 1
    await code
    while transports() > before:
        await asyncio.sleep(0)


@before_3_14
async def test_child_that_somebody_else_reaped_counts_as_255(
    readers: Readers, caplog: pytest.LogCaptureFixture
) -> None:
    started = Started(readers, "true")
    os.waitpid(started.exit.pid, 0)
    with caplog.at_level(logging.WARNING, "asyncio"):
        assert await started.code == 255
    assert "somebody else has reaped" in caplog.text


@before_3_14
async def test_child_for_which_no_descriptor_is_left_is_killed_and_reaped(
    readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, open_before = children(), descriptors()
    exits._has_pidfds()

    def refuse(pid: int, flags: int = 0) -> int:
        assert children() != before
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        Started(readers, "sleep", "60")
    assert children() == before
    await asyncio.sleep(0)
    assert descriptors() == open_before


# the loop policy


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The loop policy, whose own answer is recognized."""
    policy: Any = asyncio.get_event_loop_policy()
    monkeypatch.setattr(policy, "get_child_watcher", lambda: "the application's", raising=False)
    return policy


@before_3_14
async def test_policy_answers_as_before_after_a_start_and_after_a_failure(readers: Readers, policy: Any) -> None:
    await Started(readers, "true").code
    assert policy.get_child_watcher() == "the application's"
    with pytest.raises(FileNotFoundError):
        Started(readers, "/nowhere/ssh")
    assert policy.get_child_watcher() == "the application's"


@before_3_14
async def test_answer_that_the_application_changes_later_is_given(readers: Readers, policy: Any) -> None:
    await Started(readers, "true").code
    policy.get_child_watcher = lambda: "a new one"
    await Started(readers, "true").code
    assert policy.get_child_watcher() == "a new one"


@before_3_14
async def test_other_threads_get_the_policys_own_watcher(
    readers: Readers, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[object] = []
    add = exits._PidfdExit.add_child_handler

    def meanwhile(self: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=lambda: answers.append(policy.get_child_watcher()))
        thread.start()
        thread.join()
        answers.append(policy.get_child_watcher())
        add(self, *arguments)

    monkeypatch.setattr(exits._PidfdExit, "add_child_handler", meanwhile)
    started = Started(readers, "true")
    await started.code
    assert answers == ["the application's", started.exit]


@before_3_14
async def test_run_in_a_signal_handler_while_a_child_is_started_does_not_wait_for_it(
    readers: Readers, stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch
) -> None:
    add, results = exits._PidfdExit.add_child_handler, []
    ssh = stand_in("exit 0")

    def interrupted(self: Any, *arguments: Any) -> None:
        monkeypatch.undo()
        results.append(run("web1", "true", ssh=ssh))
        add(self, *arguments)

    monkeypatch.setattr(exits._PidfdExit, "add_child_handler", interrupted)
    assert await Started(readers, "true").code == 0
    assert results[0]["result"]["web1"]["status"] == STATUS_SUCC
