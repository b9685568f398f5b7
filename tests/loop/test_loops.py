from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Any

import pytest
import uvloop

from sshfan_async.loop.loops import LoopThread, in_thread, is_standard, run_alone
from tests.support.loops import uvloop_policy
from tests.support.processes import wait_until


async def add(*numbers: int) -> int:
    await asyncio.sleep(0)
    return sum(numbers)


async def fail() -> None:
    raise ZeroDivisionError


async def here() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    return asyncio.get_running_loop(), threading.current_thread()


def test_standard_loop_is_told_from_uvloop() -> None:
    for new_loop, standard in ((asyncio.SelectorEventLoop, True), (uvloop.new_event_loop, False)):
        loop = new_loop()
        assert is_standard(loop) is standard
        loop.close()


# run_alone


def test_run_alone_returns_what_the_function_returns() -> None:
    assert run_alone(add, 1, 2) == 3


def test_run_alone_raises_what_the_function_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        run_alone(fail)


def test_run_alone_uses_a_standard_loop_under_the_policy_of_uvloop() -> None:
    with uvloop_policy():
        loop, thread = run_alone(here)
    assert type(loop) is asyncio.SelectorEventLoop
    assert thread is threading.current_thread()


# LoopThread


def test_thread_gives_the_result() -> None:
    with LoopThread("test") as thread:
        assert thread.start(add, 1, 2).result() == 3


def test_thread_gives_the_exception_and_goes_on() -> None:
    with LoopThread("test") as thread:
        with pytest.raises(ZeroDivisionError):
            thread.start(fail).result()
        assert thread.start(add, 1).result() == 1


def test_future_that_is_cancelled_cancels_the_task() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    with LoopThread("test") as thread:
        future = thread.start(wait)
        assert begun.wait(20)
        assert future.cancel()
    assert ended.is_set()
    assert future.cancelled()


@pytest.mark.timeout(30)
def test_exception_of_a_signal_handler_while_a_task_is_started_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception comes when the loop has got the task, and nobody has got its future."""

    class Interrupted(Exception):
        pass

    def use() -> None:
        with LoopThread("test") as thread:
            hand_over = thread.loop.call_soon_threadsafe

            def interrupted(*arguments: Any) -> asyncio.Handle:
                monkeypatch.undo()
                hand_over(*arguments)
                raise Interrupted

            monkeypatch.setattr(thread.loop, "call_soon_threadsafe", interrupted)
            thread.start(asyncio.Event().wait)

    with pytest.raises(Interrupted):
        use()


def test_call_is_made_in_the_loop() -> None:
    called: list[threading.Thread] = []
    with LoopThread("test") as thread:
        thread.call(lambda: called.append(threading.current_thread()))
        _, loops_thread = thread.start(here).result()
    assert called == [loops_thread]


def test_leaving_waits_for_tasks_and_for_those_that_they_start() -> None:
    ended: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def first(leaving: asyncio.Event) -> None:
        await leaving.wait()
        tasks.append(asyncio.create_task(second()))
        ended.append("first")

    async def second() -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        ended.append("second")

    async def begin() -> None:
        leaving = asyncio.Event()
        tasks.append(asyncio.create_task(first(leaving)))
        asyncio.get_running_loop().call_later(0.1, leaving.set)  # the block has been left by then

    with LoopThread("test") as thread:
        thread.start(begin).result()
        assert ended == []
    assert ended == ["first", "second"]


def test_leaving_ends_the_thread_and_its_loop() -> None:
    with LoopThread("a thread's name") as thread:
        loop, loops_thread = thread.start(here).result()
        assert loop is thread.loop
        assert loops_thread.name == "a thread's name"
        assert loops_thread.daemon  # else a block that is never left keeps the process
    assert not loops_thread.is_alive()
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="closed"):
        thread.call(print)


def test_exception_of_the_block_cancels_what_was_started_and_passes_when_it_has_ended() -> None:
    began, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ended.set()

    def use() -> None:
        with LoopThread("test") as thread:
            thread.start(wait)
            assert began.wait(20)
            raise KeyError("body")

    with pytest.raises(KeyError, match="body"):
        use()
    assert ended.is_set()


def test_thread_that_cannot_make_its_loop_raises_in_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_loop() -> None:
        raise OSError("Too many open files")

    threads = set(threading.enumerate())
    monkeypatch.setattr(asyncio, "SelectorEventLoop", no_loop)
    with pytest.raises(OSError, match="Too many open files"):
        LoopThread("test").__enter__()
    wait_until(lambda: set(threading.enumerate()) == threads, "the thread to end")


def test_worker_thread_is_not_needed() -> None:
    before = threading.stack_size(2**47)  # no thread can be started: there is no address space for its stack
    try:
        assert run_alone(in_thread, divmod, 7, 2) == (3, 1)
    finally:
        threading.stack_size(before)


def test_nothing_is_left_if_no_thread_can_be_started() -> None:
    before = threading.stack_size(2**47)
    try:
        with pytest.raises(OSError, match="no thread can be started"):
            LoopThread("test").__enter__()
    finally:
        threading.stack_size(before)


class Interrupted(Exception):
    """Raised by a signal handler."""


def test_exception_of_a_signal_handler_leaves_no_thread() -> None:
    def handler(number: int, frame: object) -> None:
        raise Interrupted

    def use(seconds: float) -> None:
        main = threading.get_ident()
        timer = threading.Timer(seconds, lambda: signal.pthread_kill(main, signal.SIGUSR1))
        timer.start()
        try:
            with LoopThread("interrupted"):
                timer.join()
                time.sleep(60)  # until the signal comes
        finally:
            timer.join()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for turn in range(300):
            with pytest.raises(Interrupted):
                use(turn * 2e-6)
    finally:
        signal.signal(signal.SIGUSR1, before)
    wait_until(lambda: "interrupted" not in {each.name for each in threading.enumerate()}, "the threads to end")


def test_thread_has_a_standard_loop_under_the_policy_of_uvloop() -> None:
    with uvloop_policy(), LoopThread("test") as thread:
        loop, _ = thread.start(here).result()
    assert type(loop) is asyncio.SelectorEventLoop


def test_thread_has_a_standard_loop_whatever_policy_is_in_force() -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def inside_uvloop() -> asyncio.AbstractEventLoop:
        with LoopThread("test") as thread:
            return await asyncio.wrap_future(thread.start(loop))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.run(inside_uvloop()), asyncio.SelectorEventLoop)
