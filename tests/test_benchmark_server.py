"""The server of the benchmarks: sshfan takes the same path with it as with a real sshd."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.harness.errors import Unavailable
from benchmarks.server.build import server_program
from benchmarks.server.fleet import InstantFleet
from sshfan_async import Fleet, Ssh, fan_out

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def instant() -> Iterator[InstantFleet]:
    try:
        server_program()
    except Unavailable as missing:
        pytest.skip(str(missing))
    with InstantFleet(3, cpu=0) as fleet:
        yield fleet


async def test_every_host_answers_with_success_as_a_watched_one(instant: InstantFleet) -> None:
    report = await fan_out(instant.hosts, "exit 7", ssh=Ssh(config_file=instant.ssh_config))
    assert [(each.status, each.exit_code, each.stderr) for each in report] == [("ok", 0, b"")] * 3
    # An unwatched host is named: "the wrapper did not run".
    assert {each.reason for each in report} == {""}


async def test_unwrapped_command_is_answered_too(instant: InstantFleet) -> None:
    assert (await fan_out(instant.hosts, "exit 7", on_stop="leave", ssh=Ssh(config_file=instant.ssh_config))).ok


async def test_fleet_asks_the_server_for_signals_and_sends_its_commands_unwrapped(instant: InstantFleet) -> None:
    async with Fleet(instant.hosts, ssh=Ssh(config_file=instant.ssh_config)) as fleet:
        assert (await fleet.run("exit 7")).ok
        assert all(host.takes_signals for host in fleet._pool._hosts.values())


def test_without_go_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(Unavailable, match="apt-get install golang-go golang-golang-x-crypto-dev"):
        server_program()
