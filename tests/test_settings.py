from __future__ import annotations

import math
import pickle
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from sshfan_async import InvalidSetting, Ssh
from sshfan_async.settings import Clocks, Limits, command_text


def test_options_become_arguments_in_their_order() -> None:
    ssh = Ssh(options={"Port": 2222, "Compression": True, "ForwardAgent": False, "IdentityFile": ["~/a", "~/b"]})
    assert ssh.option_arguments() == [
        "-oPort=2222",
        "-oCompression=yes",
        "-oForwardAgent=no",
        "-oIdentityFile=~/a",
        "-oIdentityFile=~/b",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "BatchMode", "ControlMaster", "ControlPersist", "EscapeChar", "ForkAfterAuthentication", "IgnoreUnknown",
        "LogLevel", "LogVerbose", "RemoteCommand", "RequestTTY", "SessionType", "StdinNull", "SyslogFacility",
    ],
)  # fmt: skip
@pytest.mark.parametrize("spelled", [str, str.lower, str.upper])
def test_option_that_a_run_depends_on_is_refused(name: str, spelled: Any) -> None:
    with pytest.raises(InvalidSetting, match=f"option '{spelled(name)}' cannot be set"):
        Ssh(options={spelled(name): "yes"})


@pytest.mark.parametrize("name", ["", "Port 22", "Port=22", "-oPort", "Port\n", "Pörtchen", 22, None])
def test_option_without_a_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidSetting, match="is not the name of an ssh option"):
        Ssh(options={name: "1"})


@pytest.mark.parametrize(
    "value", ["", "a\nb", "a\0", "\x1b[2J", 1.5, None, b"1", b"", [], ["a", 1], {"a": "b"}, ["a", ""]]
)
def test_option_without_a_usable_value_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSetting, match="Port"):
        Ssh(options={"Port": value})


@pytest.mark.parametrize("options", ["Port=22", [("Port", 22)], None])
def test_options_that_are_no_mapping_are_refused(options: Any) -> None:
    with pytest.raises(InvalidSetting, match="is not a mapping"):
        Ssh(options=options)


@pytest.mark.parametrize("name", ["program", "config_file"])
@pytest.mark.parametrize("path", ["", "a\0b", b"ssh"])
def test_impossible_path_is_refused(name: str, path: Any) -> None:
    with pytest.raises(InvalidSetting, match=f"{name}=.* is not a path"):
        Ssh(**{name: path})


@pytest.mark.parametrize("name", ["program", "config_file"])
def test_what_is_no_path_at_all_is_refused(name: str) -> None:
    options: dict[str, Any] = {name: 22}
    with pytest.raises(InvalidSetting, match=f"{name}=22 is not a path"):
        Ssh(**options)


def test_options_are_a_copy() -> None:
    options = {"Port": 22}
    ssh = Ssh(options=options)
    options["Port"] = 23
    assert ssh.options == {"Port": 22}


def test_settings_pickle() -> None:
    for value in (Ssh(program="ssh", options={"Port": 22}), Clocks(timeout=1), Limits(fanout=3)):
        assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize("name", ["connect_timeout", "timeout", "deadline"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "5", True])
def test_clock_that_is_no_positive_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidSetting, match=f"{name}={value!r}: give a number of seconds"):
        Clocks(**{name: value})


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, None, "5"])
def test_kill_after_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSetting, match=f"kill_after={value!r}"):
        Clocks(kill_after=value)


@pytest.mark.parametrize("name", ["connect_timeout", "timeout", "deadline", "kill_after"])
@pytest.mark.parametrize(
    "value", [2**31, 3e9, 1e308, 10**400, 10**5000], ids=["2**31", "3e9", "1e308", "400", "5000"]
)
def test_clock_that_is_too_long_is_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidSetting, match=rf"^{name} is too long: give at most 2147483647 seconds$"):
        Clocks(**{name: value})


@pytest.mark.parametrize("name", ["connect_timeout", "timeout", "deadline", "kill_after"])
def test_clock_far_below_zero_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^{name}=-1000"):
        Clocks(**{name: -(10**400)})


def test_kill_after_may_be_zero() -> None:
    assert Clocks(kill_after=0).kill_after == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("fanout", 0), ("fanout", 1.5), ("fanout", True), ("fanout", "64"), ("retries", -1), ("retries", None),
     ("max_output", -1), ("max_output", 0.5), ("memory", -1)],
)  # fmt: skip
def test_impossible_limit_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidSetting, match=f"{name}={value!r}: give a whole number"):
        Limits(**{name: value})


def test_fanout_may_be_none_or_a_limiter() -> None:
    assert Limits(fanout=None).fanout is None
    limiter = anyio.CapacityLimiter(3)
    assert Limits(fanout=limiter).fanout is limiter


@pytest.mark.parametrize(
    "value", [Fraction(3, 2), timedelta(seconds=1, milliseconds=500), np.float32(1.5), np.float64(1.5)]
)
def test_clock_may_be_any_real_number_or_a_timedelta(value: Any) -> None:
    clocks = Clocks(connect_timeout=value, timeout=value, deadline=value, kill_after=value)
    assert (clocks.connect_timeout, clocks.timeout, clocks.deadline, clocks.kill_after) == (1.5, 1.5, 1.5, 1.5)
    assert type(clocks.timeout) is float


def test_limit_may_be_a_whole_number_of_any_class() -> None:
    count: Any = np.int64(3)
    limits = Limits(fanout=count, retries=count, max_output=count, memory=count)
    assert {type(each) for each in (limits.fanout, limits.retries, limits.max_output, limits.memory)} == {int}


@pytest.mark.parametrize("value", [timedelta(0), timedelta(seconds=-1), np.float64("nan"), 1j, np.bool_(True)])
def test_clock_of_another_class_is_refused_if_it_is_no_positive_number(value: Any) -> None:
    with pytest.raises(InvalidSetting, match="timeout="):
        Clocks(timeout=value)


def test_leading_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ops")
    ssh = Ssh(program="~/bin/ssh", config_file=Path("~/ssh_config"))
    assert (ssh.program, ssh.config_file) == ("/home/ops/bin/ssh", "/home/ops/ssh_config")


def test_argument_of_a_command_may_be_a_path() -> None:
    assert command_text(["ls", "-l", Path("/srv/a b")]) == "ls -l '/srv/a b'"


@pytest.mark.parametrize("argument", [b"ls", 7, None])
def test_argument_that_is_neither_text_nor_a_path_is_refused(argument: Any) -> None:
    with pytest.raises(InvalidSetting, match="command"):
        command_text(["ls", argument])
