"""The loop of a run, and how a run ends with its caller."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import uvloop

from sshfan_async.engine.run import Run
from sshfan_async.engine.run_task import RunTask
from sshfan_async.event import Event, HostFinished
from sshfan_async.settings import Clocks, Limits, OnStop
from sshfan_async.targets import targets
from tests.support.processes import descriptors, until, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async import Ssh

    NewLoop = Callable[[], asyncio.AbstractEventLoop]


def a_run(ssh: Ssh, *hosts: str, fanout: Any = 64) -> Run:
    return Run(
        targets=targets(hosts),
        command="true",
        user=None,
        ssh=ssh,
        clocks=Clocks(),
        limits=Limits(fanout=fanout),
        stdin=None,
        on_stop=OnStop.LEAVE,
    )


def starters(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, type]]:
    """Record the thread and the kind of loop in which each child is started."""
    seen: list[tuple[str, type]] = []
    start = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **options: Any) -> Any:
        seen.append((threading.current_thread().name, type(asyncio.get_running_loop())))
        return await start(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    return seen


async def outcomes_of(run: Run) -> list[str]:
    ended: list[str] = []
    here = threading.current_thread()

    def emit(event: Event) -> None:
        assert threading.current_thread() is here
        if isinstance(event, HostFinished):
            ended.append(event.outcome.host)

    async with RunTask(run, emit) as running:
        await running.finished()
    return ended


def test_run_is_on_the_callers_loop_if_it_is_a_standard_one(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = starters(monkeypatch)
    run = a_run(stand_in("exit 0"), "web1", "web2")
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert sorted(runner.run(outcomes_of(run))) == ["web1", "web2"]
    assert set(seen) == {(threading.main_thread().name, asyncio.SelectorEventLoop)}


def test_run_is_on_a_standard_loop_of_its_own_under_uvloop(
    stand_in: Callable[..., Ssh], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = starters(monkeypatch)
    run = a_run(stand_in("exit 0"), "web1", "web2")
    threads = set(threading.enumerate())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert sorted(runner.run(outcomes_of(run))) == ["web1", "web2"]
    assert {loop for _, loop in seen} == {asyncio.SelectorEventLoop}
    assert threading.main_thread().name not in {thread for thread, _ in seen}
    wait_until(lambda: threads >= set(threading.enumerate()), "the thread to be gone")


def test_failure_of_the_engine_itself_is_raised(
    stand_in: Callable[..., Ssh], new_loop: NewLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sshfan_async.engine.attempt.target_argv", broken)
    with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(ExceptionGroup) as caught:
        runner.run(outcomes_of(a_run(stand_in("exit 0"), "web1")))
    assert caught.value.subgroup(ZeroDivisionError) is not None


def test_exception_of_the_body_wins(stand_in: Callable[..., Ssh], new_loop: NewLoop) -> None:
    async def main() -> None:
        before = descriptors()
        try:
            async with RunTask(a_run(stand_in("exec sleep 60"), "web1"), lambda event: None):
                raise KeyError("body")
        finally:
            assert descriptors().keys() <= before.keys()

    with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(KeyError, match="body"):
        runner.run(main())


def test_limiter_of_another_loop_gets_back_what_a_cancelled_wait_was_given(stand_in: Callable[..., Ssh]) -> None:
    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        await limiter.acquire_on_behalf_of("somebody")
        ssh = stand_in("exit 0")
        for _ in range(20):
            task = asyncio.ensure_future(outcomes_of(a_run(ssh, "web1", fanout=limiter)))
            await until(lambda: limiter.statistics().tasks_waiting == 1)
            limiter.release_on_behalf_of("somebody")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: limiter.borrowed_tokens == 0)
            await limiter.acquire_on_behalf_of("somebody")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
