"""`events()`: each event as it happens, and no faster than the consumer takes them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import (
    Event,
    HostFinished,
    HostOutput,
    HostPhase,
    HostStarted,
    Phase,
    Status,
    events,
    fan_out,
    stream,
)
from tests.support.listeners import listening, passing_on_to
from tests.support.marked import Mark
from tests.support.processes import descriptors, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from sshfan_async.testing import SshdFleet

    NewLoop = Callable[[], asyncio.AbstractEventLoop]

MEGABYTE = 1_000_000


@pytest.fixture
def mark() -> Iterator[Mark]:
    mark = Mark()
    yield mark
    mark.kill()


def on(new_loop: NewLoop, function: Callable[[], Awaitable[Any]]) -> Any:
    """Run `function` on a loop of that kind; it must leave no descriptor open."""

    async def main() -> Any:
        before = descriptors()
        try:
            return await function()
        finally:
            assert descriptors().keys() <= before.keys()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.sleep(0))
        return runner.run(main())


async def all_of(happenings: Any) -> list[Event]:
    return [event async for event in happenings]


def test_events_come_in_order(fleet: SshdFleet, new_loop: NewLoop) -> None:
    async def main() -> list[Event]:
        async with events("node001", "echo out; sleep 0.1; echo err >&2; exit 3", ssh=fleet.ssh) as happenings:
            return await all_of(happenings)

    happened = on(new_loop, main)
    assert isinstance(happened[0], HostStarted)
    assert isinstance(happened[-1], HostFinished)
    phases = [event.phase for event in happened if isinstance(event, HostPhase)]
    assert phases == sorted(phases, key=list(Phase).index)
    assert Phase.RUN in phases
    output = [(event.stream, event.data) for event in happened if isinstance(event, HostOutput)]
    assert output == [("stdout", b"out\n"), ("stderr", b"err\n")]
    assert {event.host for event in happened[:-1]} == {"node001"}
    assert happened[-1].outcome.exit_code == 3


def test_consumers_share_the_events_and_all_end(fleet: SshdFleet, new_loop: NewLoop) -> None:
    async def main() -> list[list[Event]]:
        async with events(["node001", "node002"], "echo a; sleep 0.1; echo b", ssh=fleet.ssh) as happenings:
            return await asyncio.wait_for(asyncio.gather(*(all_of(happenings) for _ in range(3))), 20)

    happened = [event for share in on(new_loop, main) for event in share]
    assert len({id(event) for event in happened}) == len(happened)
    assert sorted(event.outcome.host for event in happened if isinstance(event, HostFinished)) == [
        "node001",
        "node002",
    ]
    assert sum(event.data.count(b"\n") for event in happened if isinstance(event, HostOutput)) == 4


def test_outcomes_are_those_of_fan_out(fleet: SshdFleet, new_loop: NewLoop) -> None:
    command = "seq 1 50000; echo error >&2; exit 4"
    hosts = fleet.hosts[:5]

    async def main() -> tuple[list[Event], Any]:
        async with events(hosts, command, ssh=fleet.ssh) as happenings:
            happened = await all_of(happenings)
        return happened, await fan_out(hosts, command, ssh=fleet.ssh)

    happened, report = on(new_loop, main)
    outcomes = {event.outcome.host: event.outcome for event in happened if isinstance(event, HostFinished)}
    for expected in report:
        outcome = outcomes.pop(expected.host)
        for field in ("status", "exit_code", "stdout", "stderr", "sent", "remote", "attempts", "reason"):
            assert getattr(outcome, field) == getattr(expected, field)
        for name in ("stdout", "stderr"):
            pieces = [
                event.data
                for event in happened
                if isinstance(event, HostOutput) and (event.host, event.stream) == (expected.host, name)
            ]
            assert b"".join(pieces) == getattr(expected, name)
    assert not outcomes


def test_output_comes_before_its_command_ends(fleet: SshdFleet, new_loop: NewLoop, tmp_path: Path) -> None:
    async def main() -> Status:
        async with events("node001", f"printf now; cat {tmp_path}/release", ssh=fleet.ssh) as happenings:
            async for event in happenings:
                if isinstance(event, HostOutput):
                    assert event.data == b"now"
                    (tmp_path / "release").write_text("")
                if isinstance(event, HostFinished):
                    return event.outcome.status
        raise AssertionError

    os.mkfifo(tmp_path / "release")
    assert on(new_loop, main) is Status.OK


async def test_each_attempt_is_told(fleet: SshdFleet) -> None:
    with listening(passing_on_to(fleet.port, dropping=1)) as listener:
        fleet.add_host(
            "flaky",
            options={
                "HostName": "127.0.0.1",
                "Port": str(listener.port),
                "HostKeyAlias": f"[127.0.0.1]:{fleet.port}",
            },
        )
        async with events("flaky", "true", ssh=fleet.ssh) as happenings:
            happened = await all_of(happenings)
    assert [event.attempt for event in happened if isinstance(event, HostStarted)] == [1, 2]
    assert happened[-1].outcome.ok  # type: ignore[union-attr]


# a slow consumer


def test_slow_listener_holds_the_hosts_back(fleet: SshdFleet, new_loop: NewLoop, tmp_path: Path) -> None:
    # Each host counts what it could write: the pipes, ssh's window and our buffer bound the data under way.
    command = f"head -c {30 * MEGABYTE} /dev/zero | tee {tmp_path}/$$ | cat"
    hosts = fleet.hosts[:3]

    async def main() -> int:
        read = 0
        async with events(hosts, command, max_output=0, ssh=fleet.ssh) as happenings:
            async for event in happenings:
                if isinstance(event, HostOutput):
                    read += len(event.data)
                    if read == len(event.data):
                        await settled(tmp_path)
                        written = sum(path.stat().st_size for path in tmp_path.iterdir())
                        assert written < len(hosts) * 9 * MEGABYTE
        return read

    assert on(new_loop, main) == len(hosts) * 30 * MEGABYTE


async def settled(directory: Path) -> None:
    """Wait until the files there have stopped growing for a while."""
    sizes: list[int] = []
    while len(sizes) < 30 or len(set(sizes[-30:])) > 1 or sizes[-1] == 0:
        sizes.append(sum(path.stat().st_size for path in directory.iterdir()))
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("clock", ["timeout", "deadline"])
def test_clocks_stand_still_while_the_listener_is_slow(fleet: SshdFleet, new_loop: NewLoop, clock: str) -> None:
    async def main() -> list[Status]:
        statuses = []
        seen = False
        command = f"head -c {10 * MEGABYTE} /dev/zero"
        clocks: dict[str, Any] = {clock: 3}
        async with events(fleet.hosts[:2], command, **clocks, max_output=0, ssh=fleet.ssh) as happenings:
            async for event in happenings:
                if isinstance(event, HostOutput) and not seen:
                    seen = True
                    await asyncio.sleep(3.1)
                if isinstance(event, HostFinished):
                    statuses.append(event.outcome.status)
        return statuses

    assert on(new_loop, main) == [Status.OK, Status.OK]


async def test_timeout_runs_on_after_a_slow_moment(fleet: SshdFleet, mark: Mark) -> None:
    command = f"head -c {5 * MEGABYTE} /dev/zero; {mark.sleep}"
    seen = False
    async with events("node001", command, timeout=1, max_output=0, ssh=fleet.ssh) as happenings:
        async for event in happenings:
            if isinstance(event, HostOutput) and not seen:
                seen = True
                await asyncio.sleep(0.5)
            if isinstance(event, HostFinished):
                assert (event.outcome.status, event.outcome.remote) == (Status.TIMED_OUT, "ended")
                assert 1.4 < event.outcome.elapsed < 2.5
    assert mark.processes() == set()


def test_slow_taker_of_outcomes_holds_nobody_back(fleet: SshdFleet, new_loop: NewLoop, tmp_path: Path) -> None:
    command = f"head -c {5 * MEGABYTE} /dev/zero; mkdir -p {tmp_path}/$$"

    async def main() -> int:
        taken = 0
        async with stream(fleet.hosts[:5], command, ssh=fleet.ssh) as outcomes:
            async for outcome in outcomes:
                assert len(outcome.stdout) == 5 * MEGABYTE
                if taken == 0:
                    await until(lambda: len(list(tmp_path.iterdir())) == 5, "the other hosts to finish meanwhile")
                taken += 1
        return taken

    assert on(new_loop, main) == 5


# a consumer that leaves early


@pytest.mark.parametrize("command", ["echo; {0}", "yes & {0}", "yes >&2 & {0}", "trap '' TERM; yes & {0}"])
def test_leaving_early_ends_all(fleet: SshdFleet, new_loop: NewLoop, mark: Mark, command: str) -> None:
    async def main() -> None:
        async with events(
            fleet.hosts[:3], command.format(mark.sleep), kill_after=0.3, max_output=0, ssh=fleet.ssh
        ) as happenings:
            async for event in happenings:
                if isinstance(event, HostOutput):
                    break

    on(new_loop, main)
    assert mark.processes() == set()


def test_consumer_that_never_reads_can_leave(fleet: SshdFleet, new_loop: NewLoop, mark: Mark) -> None:
    async def main() -> None:
        async with events(fleet.hosts[:3], f"yes & {mark.sleep}", max_output=0, ssh=fleet.ssh):
            await until(lambda: len(mark.commands()) == 3)

    on(new_loop, main)
    assert mark.processes() == set()


async def test_output_that_comes_after_leaving_takes_no_memory(fleet: SshdFleet) -> None:
    async with events("node001", "trap '' TERM; yes", kill_after=1, max_output=0, ssh=fleet.ssh) as happenings:
        async for event in happenings:
            if isinstance(event, HostOutput):
                break
    assert sum(len(event.data) for event in happenings._events if isinstance(event, HostOutput)) < 3 * MEGABYTE  # type: ignore[attr-defined,misc]
