"""One child, with shell scripts in place of ssh: how processes and pipes end."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time

import pytest

from sshfan_async.loop.timers import Timers
from sshfan_async.process.child import Child
from sshfan_async.process.log_pipe import LogPipes
from sshfan_async.process.readers import Readers
from sshfan_async.sshlog.lines import LogStyle
from sshfan_async.sshlog.log import SshLog
from sshfan_async.stdio.capture import Store
from tests.support.cancellation import CANCELLATIONS, Cancellation
from tests.support.processes import children, descriptors, is_running, session, state, until


class Deaf:
    follows = False

    def progressed(self, ssh_log: SshLog) -> None:
        pass

    def wrote(self, stream: str, data: bytes) -> None:
        pass


def start(*argv: str) -> Child:
    executable = shutil.which(argv[0])
    return Child.spawn(
        argv[0] if executable is None else executable,
        argv,
        os.environb,
        ssh_log=SshLog(LogStyle.LOGVERBOSE),
        log_pipe=LogPipes().open(),
        readers=Readers(asyncio.get_running_loop()),
        timers=Timers(asyncio.get_running_loop()),
        null=asyncio.subprocess.DEVNULL,
        source=None,
        reports=None,
        store=Store(1 << 20),
        max_output=None,
        listener=Deaf(),
    )


async def test_exit_code_and_both_outputs() -> None:
    child = start("sh", "-c", "echo out; echo err >&2; exit 7")
    assert await child.wait() == 7
    assert (child.stdout.value(), child.stderr.value()) == (b"out\n", b"err\n")


async def test_exit_is_seen_while_a_grandchild_holds_the_pipes() -> None:
    child = start("sh", "-c", "printf before; sleep 30 & echo $! >&2; exit 3")
    began = time.monotonic()
    assert await child.wait() == 3
    assert time.monotonic() - began < 5
    assert child.stdout.value() == b"before"
    grandchild = int(child.stderr.value())  # type: ignore[arg-type]
    assert is_running(grandchild)
    os.kill(grandchild, signal.SIGKILL)


async def test_grandchild_that_writes_for_ever_does_not_delay_the_end() -> None:
    child = start("sh", "-c", "yes & echo $! >&2; exit 0")
    await child.wait()
    grandchild = int(child.stderr.value())  # type: ignore[arg-type]
    await until(lambda: not is_running(grandchild), "`yes` to die of SIGPIPE")


async def test_exit_is_stamped_when_it_happens() -> None:
    child = start("sh", "-c", "date +%s.%N")
    await child.wait()
    seen = time.time()
    assert child.ended_at is not None
    ended = seen - (time.monotonic() - child.ended_at)
    assert float(child.stdout.value()) - 0.001 < ended <= seen  # type: ignore[arg-type]


async def test_stop_ends_the_whole_group() -> None:
    child = start("sh", "-c", "sleep 30 & sleep 30 & wait")
    await until(lambda: len(session(child.pid)) == 3)
    assert await child.stop(10) == -signal.SIGTERM
    await until(lambda: session(child.pid) == set())


async def test_child_that_ignores_term_is_killed_after_the_grace() -> None:
    child = start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 30; done")
    await until(lambda: child.stdout.kept)
    began = time.monotonic()
    assert await child.stop(0.3) == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - began < 30  # its `sleep`
    # Its `sleep` got the same signal at the same moment, but we do not reap it.
    await until(lambda: session(child.pid) == set())


async def test_grandchild_that_ignores_term_dies_with_its_group() -> None:
    child = start("sh", "-c", "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 30; done' & wait")
    await until(lambda: child.stdout.kept)
    await child.stop(10)
    await until(lambda: session(child.pid) == set())


async def test_frozen_child_is_killed() -> None:
    child = start("sh", "-c", "kill -STOP $$")
    await until(lambda: state(child.pid) == "T")
    assert await child.stop(0.1) == -signal.SIGKILL


async def test_child_that_has_missed_the_first_signal_gets_another() -> None:
    # As in ssh before 9.6, if TERM comes after its check for a signal and before its wait for the network.
    child = start("sh", "-c", "trap 'trap - TERM' TERM; echo ready; while :; do sleep 0.01; done")
    await until(lambda: child.stdout.kept)
    began = time.monotonic()
    assert await child.stop(10) == -signal.SIGTERM
    assert time.monotonic() - began < 5


async def test_second_signal_is_not_for_what_the_child_has_started() -> None:
    started = "trap 'echo told' TERM; echo ready; while :; do sleep 0.01; done"
    child = start("sh", "-c", 'trap : TERM; sh -c "$0" & while :; do wait; done', started)
    await until(lambda: child.stdout.kept)
    await child.stop(0.6)
    value = child.stdout.value()
    assert value == b"ready\ntold\n"


async def test_stop_returns_only_when_the_child_is_reaped_however_often_it_is_cancelled() -> None:
    child = start("sh", "-c", "trap 'sleep 0.3; exit 9' TERM; echo ready; while :; do sleep 0.01; done")
    await until(lambda: child.stdout.kept)
    stopping = asyncio.create_task(child.stop(10))
    await asyncio.sleep(0)
    while not stopping.done():
        stopping.cancel()
        await asyncio.sleep(0.01)
    assert child.returncode == 9
    assert not is_running(child.pid)


async def test_stop_after_the_exit_gives_the_exit() -> None:
    child = start("sh", "-c", "exit 5")
    assert await child.wait() == 5
    assert await child.stop(10) == 5
    assert not child.stopped


async def kill_at_random_moments(times: int) -> None:
    moments = random.Random(times)
    for _ in range(times):
        child = start("sh", "-c", "exit 3")
        await asyncio.sleep(moments.uniform(0, 0.004))
        returncode = await child.stop(10)
        assert returncode == (-signal.SIGTERM if child.stopped and returncode < 0 else 3)
        assert returncode == child.returncode


async def test_exit_code_is_right_when_killed_at_random_moments() -> None:
    before = children()
    await start_and_end()
    open_before = descriptors()
    await kill_at_random_moments(200)
    assert children() == before
    assert descriptors().keys() <= open_before.keys()


@pytest.mark.slow
async def test_exit_code_is_right_in_a_thousand_kills() -> None:
    await kill_at_random_moments(1000)


async def start_and_end() -> None:
    await start("true").wait()


async def test_missing_program_leaves_no_descriptor() -> None:
    await start_and_end()
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        start("/nowhere/ssh")
    assert descriptors() == before


async def test_nothing_is_left_open() -> None:
    await start_and_end()
    before = descriptors()
    for _ in range(3):
        await start_and_end()
    assert descriptors() == before


@pytest.mark.parametrize("cancellation", CANCELLATIONS, ids=str)
async def test_stop_reaps_the_child_although_tasks_are_cancelled(cancellation: Cancellation) -> None:
    before, open_before = children(), descriptors()
    for turns in range(1, 9):
        child = start("sh", "-c", "trap '' TERM; while :; do sleep 0.01; done")

        async def stop(child: Child = child) -> None:
            await child.stop(0.01)

        await cancellation.after(turns, stop)
        assert child.returncode is not None
        assert children() == before
    assert descriptors() == open_before
