from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from sshfan_async import (
    Fleet,
    InvalidSetting,
    InvalidTarget,
    Ssh,
    Status,
    SyncFleet,
    Target,
    events,
    fan_out,
    run,
    stream,
)
from sshfan_async.engine.run import _ALWAYS_FITS, _MAX_ARGUMENT, check_names, check_ssh, check_user, checked_run
from sshfan_async.fleet.settings import FleetOptions
from sshfan_async.process.watchdog import Wrapper, new_secret
from sshfan_async.settings import Clocks, CommandOptions, Limits, OnStop, RunOptions, UnaddressedOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshfan_async.testing import SshdFleet


def keywords(function: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """Return the keyword-only parameters that the signature of `function` spells out."""
    parameters = inspect.signature(function).parameters
    return {name: each for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}


def spelled(options: type) -> dict[str, str]:
    """Return the names of a TypedDict, with the types as they are written."""
    return {name: each.__forward_arg__ for name, each in options.__annotations__.items()}


# the options of the front doors


@pytest.mark.parametrize(
    ("function", "options"),
    [(fan_out, RunOptions), (Fleet.run, CommandOptions), (Fleet.__init__, FleetOptions)],
)
def test_options_are_the_keyword_parameters_types_included(function: Callable[..., object], options: type) -> None:
    assert spelled(options) == {name: each.annotation for name, each in keywords(function).items()}


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (stream, RunOptions),
        (events, RunOptions),
        (run, UnaddressedOptions),
        (Fleet.stream, CommandOptions),
        (SyncFleet.run, CommandOptions),
        (SyncFleet.stream, CommandOptions),
        (SyncFleet.__init__, FleetOptions),
    ],
)
def test_door_without_keyword_parameters_takes_the_options(function: Callable[..., object], options: type) -> None:
    parameters = inspect.signature(function).parameters.values()
    assert keywords(function) == {}
    assert [each.annotation for each in parameters if each.kind is each.VAR_KEYWORD] == [
        f"Unpack[{options.__name__}]"
    ]


def test_run_takes_all_keyword_parameters_of_fan_out_and_the_user_by_position_too() -> None:
    theirs = {name: each.annotation for name, each in keywords(fan_out).items()}
    user = inspect.signature(run).parameters["user"]
    assert user.kind is user.POSITIONAL_OR_KEYWORD
    assert {**spelled(UnaddressedOptions), "user": user.annotation} == theirs


def test_fleet_runs_a_command_with_the_defaults_of_fan_out() -> None:
    theirs = keywords(fan_out)
    ours = {name: each.default for name, each in keywords(Fleet.run).items()}
    assert ours == {name: theirs[name].default for name in ours}


# checked_run


def test_defaults_are_those_of_fan_out() -> None:
    made = checked_run("web1", "true")
    found = {
        name: getattr(holder, name)
        for name in keywords(fan_out)
        for holder in (made.clocks, made.limits, made)
        if hasattr(holder, name)
    }
    assert found == {name: each.default for name, each in keywords(fan_out).items()}


def test_each_option_reaches_its_field() -> None:
    limiter = anyio.CapacityLimiter(3)
    ssh = Ssh(program="another-ssh")
    made = checked_run(
        ["web1", "ops@web2:22"],
        ["echo", "a b"],
        user="ops",
        fanout=limiter,
        timeout=1,
        connect_timeout=2,
        deadline=3,
        kill_after=4,
        retries=5,
        stdin=b"input",
        on_stop="always",
        max_output=6,
        ssh=ssh,
    )
    assert made.targets == {Target("web1"): "web1", Target("web2", "ops", 22): "ops@web2:22"}
    assert (made.command, made.user, made.ssh, made.stdin) == ("echo 'a b'", "ops", ssh, b"input")
    assert made.on_stop is OnStop.ALWAYS
    assert made.clocks == Clocks(timeout=1, connect_timeout=2, deadline=3, kill_after=4)
    assert made.limits == Limits(fanout=limiter, retries=5, max_output=6)


# check_names, check_ssh, check_user


@pytest.mark.parametrize("options", [RunOptions, UnaddressedOptions, CommandOptions, FleetOptions])
def test_every_known_name_is_accepted(options: type) -> None:
    check_names("f", spelled(options), options)


@pytest.mark.parametrize(
    ("options", "name"),
    [(RunOptions, "timeuot"), (RunOptions, ""), (UnaddressedOptions, "user"), (CommandOptions, "fanout")],
)
def test_unknown_name_is_refused_as_python_does(options: type, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^f\(\) got an unexpected keyword argument '{name}'$"):
        check_names("f", {"timeout": 1, name: 2}, options)


@pytest.mark.parametrize("call", [stream, events])
def test_door_refuses_an_unknown_name_before_anything_starts(call: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=rf"^{call.__name__}\(\) got an unexpected keyword argument 'timeuot'$"):
        call("web1", "true", timeuot=3)


@pytest.mark.parametrize("value", [None, "ssh", {}, Ssh])
def test_what_is_no_ssh_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"^ssh=.*: give Ssh\("):
        check_ssh(value)


def test_user_that_no_target_could_have_is_refused() -> None:
    check_user(None)
    check_user("ops")
    with pytest.raises(InvalidTarget, match="-l"):
        check_user("-l")


# the length of a command


def longest_accepted(**options: Any) -> int:
    """Return the length of the longest command of letters that is accepted."""
    accepted, refused = 1, 1_000_000
    while refused - accepted > 1:
        length = (accepted + refused) // 2
        try:
            checked_run("web1", "x" * length, **options)
        except InvalidSetting:
            refused = length
        else:
            accepted = length
    return accepted


@pytest.mark.parametrize("on_stop", ["leave", "kill", "always"])
async def test_longest_command_that_is_accepted_runs(fleet: SshdFleet, on_stop: Any) -> None:
    command = "echo $((1 + 1)) #"
    command += "x" * (longest_accepted(on_stop=on_stop) - len(command) - 3)
    (outcome,) = await fan_out("node001", command, on_stop=on_stop, ssh=fleet.ssh)
    assert (outcome.status, outcome.stdout, outcome.reason) == (Status.OK, b"2\n", "")
    async with Fleet("node001", ssh=fleet.ssh) as open_fleet:
        (outcome,) = await open_fleet.run(command, on_stop=on_stop)
    assert (outcome.status, outcome.stdout, outcome.reason) == (Status.OK, b"2\n", "")


@pytest.mark.parametrize("command", ["x" * 200_000, "'" * 40_000, "\n" * 60_000, "\U0001f600" * 33_000])
def test_longer_command_is_refused_with_its_size_and_the_remedy(command: str) -> None:
    with pytest.raises(InvalidSetting, match=r"has [12]\d\d,\d\d\d bytes .* 131,071: .*stdin=.*--script"):
        checked_run("web1", command)


@pytest.mark.parametrize("character", ["x", "'", "\\", "!", "\n", "\U0001f600", "\udcff"])
def test_command_of_which_no_size_is_computed_fits(character: str) -> None:
    wrapper = Wrapper(character * _ALWAYS_FITS, on_stop=OnStop.ALWAYS, grace=10.0, stdin_size=10**12)
    assert len(os.fsencode(wrapper.text(new_secret()))) <= _MAX_ARGUMENT
