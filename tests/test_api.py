"""`fan_out` and `stream`, against real hosts, and on each kind of event loop if the loop matters."""

from __future__ import annotations

import asyncio
import importlib
import os
import pickle
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import sshfan_async
from sshfan_async import (
    Fleet,
    InvalidSetting,
    InvalidTarget,
    Outcome,
    Phase,
    Ssh,
    Status,
    SyncFleet,
    Target,
    events,
    fan_out,
    run,
    stream,
)
from tests.support.cancellation import CANCELLATIONS, Cancellation
from tests.support.loops import Turns, on, uvloop_policy
from tests.support.processes import children, descriptors, is_running, until, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from sshfan_async.testing import SshdFleet

    NewLoop = Callable[[], asyncio.AbstractEventLoop]


def statuses(outcomes: Any) -> list[Status]:
    return [outcome.status for outcome in outcomes]


# fan_out


def test_report_is_in_the_order_given(fleet: SshdFleet, new_loop: NewLoop) -> None:
    hosts: list[str | Target] = ["node003", Target("node001"), "node003", "node002"]

    async def main() -> Any:
        return await fan_out(hosts, "echo hello; echo error >&2", ssh=fleet.ssh)

    report = on(new_loop, main)
    assert [outcome.host for outcome in report] == ["node003", "node001", "node002"]
    assert report.ok
    assert {(outcome.stdout, outcome.stderr) for outcome in report} == {(b"hello\n", b"error\n")}


async def test_arguments_are_quoted(fleet: SshdFleet) -> None:
    report = await fan_out("node001", ["printf", "%s|", "a b", "$HOME", "it's"], ssh=fleet.ssh)
    assert report["node001"].stdout == b"a b|$HOME|it's|"


async def test_no_hosts_are_an_empty_report() -> None:
    report = await fan_out([], "true")
    assert len(report) == 0
    assert report.ok


@pytest.mark.parametrize("code", [1, 2, 127, 254, 255])
async def test_exit_code_is_the_commands_own(fleet: SshdFleet, code: int) -> None:
    outcome = (await fan_out("node001", f"exit {code}", ssh=fleet.ssh))["node001"]
    assert (outcome.status, outcome.exit_code, outcome.sent) == (Status.FAILED, code, True)


async def test_phases_add_up_and_name_the_slow_one(fleet: SshdFleet) -> None:
    outcome = (await fan_out("node001", "sleep 1", ssh=fleet.ssh))["node001"]
    phases = dict(outcome.phases)
    assert list(phases) == list(Phase)
    assert sum(seconds for phase, seconds in phases.items() if phase is not Phase.QUEUED) == pytest.approx(
        outcome.elapsed, abs=0.001
    )
    assert max(phases, key=lambda phase: phases[phase]) is Phase.RUN
    assert phases[Phase.RUN] >= 1


async def test_outcomes_and_reports_pickle(fleet: SshdFleet) -> None:
    report = await fan_out(["node001", "node002"], "echo hello", ssh=fleet.ssh)
    assert pickle.loads(pickle.dumps(report)) == report
    assert pickle.loads(pickle.dumps(report["node001"])).stdout == b"hello\n"


async def test_output_beyond_max_output_is_counted(fleet: SshdFleet) -> None:
    command = "head -c 300000 /dev/zero; head -c 10 /dev/zero >&2"
    outcome = (await fan_out("node001", command, max_output=1000, ssh=fleet.ssh))["node001"]
    assert (len(outcome.stdout), outcome.stdout_dropped) == (1000, 299_000)
    assert (len(outcome.stderr), outcome.stderr_dropped) == (10, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"hosts": "-oProxyCommand=x"}, InvalidTarget, "-oProxyCommand=x"),
        ({"hosts": ["web1", "a b"]}, InvalidTarget, "'a b'"),
        ({"hosts": "web[1-3]"}, InvalidTarget, "nodes"),
        ({"hosts": None}, InvalidTarget, "None"),
        ({"user": "-l"}, InvalidTarget, "-l"),
        ({"user": ""}, InvalidTarget, "empty"),
        ({"command": ""}, InvalidSetting, "command"),
        ({"timeout": 0}, InvalidSetting, "timeout=0"),
        ({"fanout": 0}, InvalidSetting, "fanout=0"),
        ({"stdin": 7}, InvalidSetting, "stdin=7"),
        ({"on_stop": "stop"}, InvalidSetting, "on_stop='stop'"),
        ({"on_stop": None}, InvalidSetting, "on_stop=None"),
        ({"on_stop": ["kill"]}, InvalidSetting, "on_stop="),
        ({"max_output": -1}, InvalidSetting, "max_output=-1"),
        ({"ssh": "ssh"}, InvalidSetting, "ssh='ssh'"),
    ],
)
async def test_impossible_argument_is_refused_before_anything_starts(
    tmp_path: Path, stand_in: Callable[..., Ssh], arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    ssh = stand_in(f"touch {tmp_path}/started")
    given = {"hosts": "web1", "command": "true", "ssh": ssh, **arguments}
    with pytest.raises(error) as caught:
        await fan_out(**given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(error):
        stream(**given)
    assert not (tmp_path / "started").exists()


async def test_long_list_of_hosts_is_checked_in_several_turns(tmp_path: Path, stand_in: Callable[..., Ssh]) -> None:
    ssh = stand_in(f"touch {tmp_path}/started")
    names = [f" web{number} " for number in range(5000)]
    async with Turns() as turns:
        with pytest.raises(InvalidTarget, match="'a b'"):
            await fan_out([*names, "a b"], "true", ssh=ssh)
        assert turns.number >= 4
    assert not (tmp_path / "started").exists()


def test_long_list_of_hosts_outside_asyncio_is_told_what_to_do() -> None:
    started = fan_out([f"web{number}" for number in range(5000)], "true")  # its first step, as trio would take it
    with pytest.raises(RuntimeError, match="runs on asyncio"):
        started.send(None)


async def test_longest_clocks_work(fleet: SshdFleet) -> None:
    longest = 2**31 - 1
    report = await fan_out(
        "node001",
        "true",
        connect_timeout=longest,
        timeout=longest,
        deadline=longest,
        kill_after=longest,
        on_stop="always",
        ssh=fleet.ssh,
    )
    assert [(outcome.status, outcome.reason) for outcome in report] == [(Status.OK, "")]


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize(
    "call",
    [fan_out, lambda *given: stream(*given).__aenter__(), lambda *given: events(*given).__aenter__()],
    ids=["fan_out", "stream", "events"],
)
def test_another_loop_than_asyncio_s_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any], loaded: bool
) -> None:
    if loaded:
        importlib.import_module("sshfan_async.engine.results")
    else:
        monkeypatch.delitem(sys.modules, "sshfan_async.engine.results", raising=False)
    started = call("web1", "true")  # its first step, as trio would take it
    with pytest.raises(RuntimeError, match=r"^sshfan_async runs on asyncio: from trio, call run\(\) in a thread$"):
        started.send(None)


# a host that hangs


def test_hanging_host_keeps_nobody_elses_result(fleet: SshdFleet, new_loop: NewLoop, tmp_path: Path) -> None:
    release = tmp_path / "release"

    async def main() -> list[bytes]:
        said = []
        # The first host hangs until the two others have their outcomes.
        command = (
            f"mkdir {tmp_path}/first 2>/dev/null || exit 0; until [ -e {release} ]; do sleep 0.05; done; echo hung"
        )
        async with stream(fleet.hosts[:3], command, ssh=fleet.ssh) as outcomes:
            async for outcome in outcomes:
                said.append(outcome.stdout)
                if len(said) == 2:
                    release.touch()
        return said

    assert on(new_loop, main) == [b"", b"", b"hung\n"]


def test_timeout_ends_a_hanging_host(fleet: SshdFleet, new_loop: NewLoop) -> None:
    async def main() -> Any:
        return await fan_out("node001", "echo so far; echo err >&2; sleep 60", timeout=0.5, ssh=fleet.ssh)

    began = time.monotonic()
    outcome = on(new_loop, main)["node001"]
    took = time.monotonic() - began
    assert (outcome.status, outcome.clock, outcome.phase, outcome.sent) == ("timed_out", "timeout", "run", True)
    assert outcome.reason == "timed out after 0.5 s in run"
    assert (outcome.stdout, outcome.stderr) == (b"so far\n", b"err\n")
    assert outcome.phases.run is not None
    assert 0.5 <= outcome.phases.run <= took < 60


# stream


def test_outcomes_come_as_the_hosts_end(stand_in: Callable[..., Ssh], new_loop: NewLoop, tmp_path: Path) -> None:
    # Each host waits for the files of those before it in this order.
    order = ["web3", "web1", "web4", "web2"]
    waits = {host: order[index - 1] if index else None for index, host in enumerate(order)}
    cases = "".join(
        f"*' {host} '*) while [ ! -e {tmp_path}/{before} ]; do sleep 0.01; done;;\n"
        for host, before in waits.items()
        if before
    )
    ssh = stand_in(f'case " $* " in {cases} esac')

    async def main() -> list[str]:
        seen = []
        async with stream(sorted(order), "true", ssh=ssh) as outcomes:
            async for outcome in outcomes:
                seen.append(outcome.host)
                (tmp_path / outcome.host).touch()
        return seen

    assert on(new_loop, main) == order


def test_slow_consumer_holds_nobody_back(stand_in: Callable[..., Ssh], new_loop: NewLoop, tmp_path: Path) -> None:
    ssh = stand_in(f"echo x >>{tmp_path}/ended")

    async def main() -> list[Outcome]:
        async with stream([f"web{n}" for n in range(20)], "true", fanout=2, ssh=ssh) as outcomes:
            await until(lambda: (tmp_path / "ended").exists() and (tmp_path / "ended").stat().st_size == 40)
            return [outcome async for outcome in outcomes]

    assert len(on(new_loop, main)) == 20


def test_leaving_the_block_early_ends_the_others(
    stand_in: Callable[..., Ssh], new_loop: NewLoop, tmp_path: Path
) -> None:
    ssh = stand_in('case " $* " in *" web1 "*) exit;; esac; exec sleep 60')

    async def main() -> None:
        async with stream([f"web{n}" for n in range(10)], "true", ssh=ssh) as outcomes:
            async for outcome in outcomes:
                assert outcome.host == "web1"
                break

    began = time.monotonic()
    on(new_loop, main)
    assert time.monotonic() - began < 5


def test_exception_in_the_body_passes_and_leaves_nothing(stand_in: Callable[..., Ssh], new_loop: NewLoop) -> None:
    ssh = stand_in("exec sleep 60")

    async def main() -> None:
        async with stream(["web1", "web2"], "true", ssh=ssh):
            await until(lambda: len(children()) >= 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        on(new_loop, main)


def test_exception_at_once_leaves_nothing(stand_in: Callable[..., Ssh], new_loop: NewLoop) -> None:
    ssh = stand_in("exec sleep 60")

    async def main() -> None:
        async with stream(["web1", "web2"], "true", ssh=ssh):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        on(new_loop, main)


def test_iterator_closed_by_the_consumer_ends_quietly(stand_in: Callable[..., Ssh], new_loop: NewLoop) -> None:
    ssh = stand_in("sleep 0.05")

    async def main() -> None:
        async with stream(["web1", "web2"], "true", fanout=1, ssh=ssh) as outcomes:
            await outcomes.aclose()  # type: ignore[attr-defined]
            await asyncio.sleep(0.1)

    on(new_loop, main)


# cancellation


async def _cancel_task(work: Callable[[], Awaitable[Any]], ready: Callable[[], object]) -> None:
    task = asyncio.ensure_future(work())
    await until(ready)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _cancel_twice(work: Callable[[], Awaitable[Any]], ready: Callable[[], object]) -> None:
    task = asyncio.ensure_future(work())
    await until(ready)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _cancel_in_every_turn(work: Callable[[], Awaitable[Any]], ready: Callable[[], object]) -> None:
    task = asyncio.ensure_future(work())
    await until(ready)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


async def _cancel_scope(work: Callable[[], Awaitable[Any]], ready: Callable[[], object]) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await until(ready)
                scope.cancel()

            group.start_soon(cancel)
            await work()
    assert scope.cancelled_caught


async def _native_timeout(work: Callable[[], Awaitable[Any]], ready: Callable[[], object]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await work()


async def _task_group(work: Callable[[], Awaitable[Any]], ready: Callable[[], object]) -> None:
    async def fail() -> None:
        await until(ready)
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(work())  # type: ignore[arg-type]
            group.create_task(fail())
    assert caught.value.subgroup(ZeroDivisionError) is not None


@pytest.mark.parametrize(
    "cancel", [_cancel_task, _cancel_twice, _cancel_in_every_turn, _cancel_scope, _native_timeout, _task_group]
)
def test_cancellation_ends_all_children_first(
    stand_in: Callable[..., Ssh], new_loop: NewLoop, tmp_path: Path, cancel: Any
) -> None:
    started = tmp_path / "started"
    ssh = stand_in(f"echo $$ >>{started}; exec sleep 60")

    def all_started() -> bool:
        return started.exists() and len(started.read_text().split()) == 4

    async def main() -> None:
        hosts = [f"web{n}" for n in range(10)]
        before = children()
        await cancel(lambda: fan_out(hosts, "true", fanout=4, ssh=ssh), all_started)
        assert children() == before

    began = time.monotonic()
    on(new_loop, main)
    assert time.monotonic() - began < 5


async def consume(opening: AbstractAsyncContextManager[AsyncIterator[object]]) -> None:
    async with opening as items:
        async for _ in items:
            pass


@pytest.mark.parametrize("call", [fan_out, stream, events], ids=["fan_out", "stream", "events"])
@pytest.mark.parametrize("cancellation", CANCELLATIONS, ids=str)
def test_cancellation_at_any_turn_of_the_loop_leaves_nothing(
    call: Any, cancellation: Cancellation, stand_in: Callable[..., Ssh], new_loop: NewLoop
) -> None:
    ssh = stand_in("exec sleep 60")

    async def start() -> None:
        running = call(["web1", "web2", "web3"], "true", ssh=ssh)
        await (running if call is fan_out else consume(running))

    async def main() -> None:
        await fan_out("web1", "true", ssh=ssh, timeout=0.01)  # the program is known from now on
        before, open_before = children(), descriptors()
        for turns in range(40):
            task = await cancellation.after(turns, start)
            assert task.cancelled()
            assert children() == before
        assert descriptors().keys() <= open_before.keys()

    on(new_loop, main)


@pytest.mark.parametrize("turns", range(12))
def test_end_of_asyncio_run_in_any_turn_leaves_nothing(turns: int, stand_in: Callable[..., Ssh]) -> None:
    ssh = stand_in("exec sleep 60")

    async def main() -> asyncio.Task[Any]:
        task = asyncio.create_task(fan_out(["web1", "web2"], "true", ssh=ssh))
        for _ in range(turns):
            await asyncio.sleep(0)
        return task

    asyncio.run(fan_out("web1", "true", ssh=ssh, timeout=0.01))
    before, open_before = children(), descriptors()
    assert asyncio.run(main()).cancelled()
    assert children() == before
    assert descriptors().keys() <= open_before.keys()


# the policy of uvloop


async def fan_out_true(hosts: Any, ssh: Ssh) -> list[Status]:
    return statuses(await fan_out(hosts, "true", ssh=ssh))


async def over_a_fleet(hosts: Any, ssh: Ssh) -> list[Status]:
    async with Fleet(hosts, ssh=ssh) as fleet:
        return statuses(await fleet.run("true"))


@pytest.mark.parametrize("main", [fan_out_true, over_a_fleet])
@pytest.mark.parametrize("new_loop", [None, asyncio.SelectorEventLoop])
def test_hosts_are_ok_under_the_policy_of_uvloop(fleet: SshdFleet, main: Any, new_loop: Any) -> None:
    with uvloop_policy(), asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main(fleet.hosts[:2], fleet.ssh)) == [Status.OK] * 2


def test_sync_doors_work_under_the_policy_of_uvloop(fleet: SshdFleet) -> None:
    with uvloop_policy():
        results = run(list(fleet.hosts[:2]), "true", ssh=fleet.ssh)["result"]
        with SyncFleet(fleet.hosts[:2], ssh=fleet.ssh) as open_fleet:
            report = open_fleet.run("true")
    assert [result["status"] for result in results.values()] == ["success", "success"]
    assert report.ok


# Ctrl-C


@pytest.mark.parametrize("loop", ["asyncio.SelectorEventLoop", "uvloop.new_event_loop"])
def test_keyboard_interrupt_of_the_loop_leaves_nothing(
    stand_in: Callable[..., Ssh], tmp_path: Path, loop: str
) -> None:
    started = tmp_path / "started"
    ssh = stand_in(f"echo $$ >>{started}; exec sleep 60")
    script = f"""
import asyncio, uvloop
from sshfan_async import Ssh, fan_out
with asyncio.Runner(loop_factory={loop}) as runner:
    runner.run(fan_out(["web1", "web2", "web3"], "true", ssh=Ssh(program={ssh.program!r})))
"""
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(sshfan_async.__file__))}
    with subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, env=environment
    ) as caller:
        wait_until(lambda: started.exists() and len(started.read_text().split()) == 3)
        caller.send_signal(signal.SIGINT)
        _, said = caller.communicate(timeout=20)
    assert said.endswith("KeyboardInterrupt\n")
    assert not any(is_running(int(pid)) for pid in started.read_text().split())
