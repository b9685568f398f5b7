"""The settings of a run: `Ssh`, `Clocks` and `Limits`, which check their values, and the types of the options."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from numbers import Integral, Real
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, TypedDict

from sshfan_async.errors import InvalidSetting

if TYPE_CHECKING:
    import anyio

__all__ = [
    "MOST_SECONDS",
    "Clocks",
    "Command",
    "CommandOptions",
    "Input",
    "Limits",
    "OnStop",
    "OptionValue",
    "RunOptions",
    "Ssh",
    "UnaddressedOptions",
    "checked_count",
    "command_text",
    "option_texts",
]

OptionValue: TypeAlias = str | int | bool | Sequence[str]
"""The value of an ssh option: text, a number, True (yes), False (no), or several texts for an option given twice."""

Command: TypeAlias = str | Sequence[str | os.PathLike[str]]
"""A text that the remote shell gets unchanged, or a sequence of arguments, text or paths, which are quoted for it."""

Input: TypeAlias = bytes | bytearray | memoryview | str | BinaryIO
"""The standard input of each host: bytes, text (sent as UTF-8), or a binary file, read from its current position."""

MOST_SECONDS = 2**31 - 1
"""The longest clock, in seconds: ssh's limit for ConnectTimeout (misc.c: convtime). An int can exceed any float."""

_OPTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")

# Options that sshfan depends on, and why. In lower case: ssh compares option names without regard to case.
_RESERVED = {
    "batchmode": "nobody can answer a prompt during a run",
    "controlmaster": "a master process would stay behind on this machine",
    "controlpersist": "a master process would stay behind on this machine",
    "escapechar": "standard input must reach the command unchanged",
    "forkafterauthentication": "ssh would exit before the command ends",
    "ignoreunknown": "it would replace the list in your ssh_config",
    "loglevel": "sshfan reads ssh's log to know what happened",
    "logverbose": "sshfan reads ssh's log to know what happened",
    "remotecommand": "give the command as an argument",
    "requesttty": "a terminal would mix the two outputs",
    "sessiontype": "the command needs a session",
    "stdinnull": "give standard input with stdin=",
    "syslogfacility": "sshfan reads ssh's log to know what happened",
}


@dataclass(frozen=True, slots=True)
class Ssh:
    """How to call the OpenSSH client.

    `program`: a name to look up in PATH, or a path. `config_file`: replaces the user's ssh_config (`ssh -F`).
    A leading `~` in either is the home directory.
    `options`: ssh_config options that win over every file: `{"Port": 2222, "IdentityFile": ["~/a", "~/b"]}`.
    All other options come from the user's ssh_config.

    Raises:
        InvalidSetting: `program` or `config_file` is not a path; an option has an invalid name or value, or is one
            that sshfan depends on.

    """

    program: str | os.PathLike[str] = "ssh"
    config_file: str | os.PathLike[str] | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, path in (("program", self.program), ("config_file", self.config_file)):
            if path is None:
                continue
            text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
            if not isinstance(text, str) or text == "" or "\0" in text:
                raise InvalidSetting(f"{name}={path!r} is not a path: give the path of a file as text")
            if text.startswith("~"):
                object.__setattr__(self, name, os.path.expanduser(text))
        if not isinstance(self.options, Mapping):
            raise InvalidSetting(f"options={self.options!r} is not a mapping: give {{'Port': 2222}}, for example")
        for key, value in self.options.items():
            _check_option(key, value)
        object.__setattr__(self, "options", dict(self.options))

    def option_arguments(self) -> list[str]:
        """Return `options` as arguments of ssh, in the order given: `["-oPort=2222", …]`."""
        return [f"-o{key}={text}" for key, value in self.options.items() for text in option_texts(value)]


def _check_option(key: object, value: object) -> None:
    if not isinstance(key, str) or _OPTION_NAME.fullmatch(key) is None:
        raise InvalidSetting(f"option {key!r} is not the name of an ssh option: see ssh_config(5)")
    why = _RESERVED.get(key.lower())
    if why is not None:
        raise InvalidSetting(f"option {key!r} cannot be set, sshfan depends on it: {why}")
    listed = isinstance(value, Sequence) and len(value) > 0 and all(isinstance(each, str) for each in value)
    if not isinstance(value, (str, int)) and not listed:
        raise InvalidSetting(f"option {key}={value!r}: give text, a number, True or False, or a list of texts")
    for text in option_texts(value):  # type: ignore[arg-type]
        if text == "" or not text.isprintable():
            raise InvalidSetting(
                f"option {key}={text!r} is empty or contains control characters: give printable text"
            )


def option_texts(value: OptionValue) -> list[str]:
    """Return `value` as texts of ssh_config, one for each time that the option is given."""
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, (str, int)):
        return [str(value)]
    return list(value)


class OnStop(StrEnum):
    """What happens to the remote command when sshfan stops waiting for it."""

    LEAVE = "leave"
    """Nothing. The command reaches the host byte for byte."""
    KILL = "kill"
    """It is ended when a clock of the run fires, on cancellation and on Ctrl-C."""
    ALWAYS = "always"
    """It is ended in these cases, and also when the connection or the calling process dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The clocks of a run, in seconds (any real number, or a `timedelta`); None for no limit.

    `connect_timeout` starts when an attempt is launched, and stops when the command is sent. `timeout` starts then,
    and stops when the command ends. `deadline` covers the whole run. `kill_after` is the time between TERM and KILL.

    Raises:
        InvalidSetting: a clock is not a positive number (`kill_after` may be 0), or exceeds 2**31 - 1 seconds.

    """

    connect_timeout: float | None = 30.0
    timeout: float | None = None
    deadline: float | None = None
    kill_after: float = 10.0

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "timeout", "deadline"):
            value = getattr(self, name)
            if value is not None:
                seconds = _seconds(name, value, "give a number of seconds above 0, or None for no limit")
                if seconds <= 0:
                    raise InvalidSetting(f"{name}={value!r}: give a number of seconds above 0, or None for no limit")
                object.__setattr__(self, name, seconds)
        grace = _seconds("kill_after", self.kill_after, "give a number of seconds, 0 or more")
        if grace < 0:
            raise InvalidSetting(f"kill_after={self.kill_after!r}: give a number of seconds, 0 or more")
        object.__setattr__(self, "kill_after", grace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a run may use.

    `fanout`: how many targets run at once, None for all; or a limiter that several runs share.
    `retries`: how many more attempts a target gets if the command was provably not sent and the cause can pass.
    `max_output`: how many bytes are kept of each of a host's two outputs, None for all.
    `memory`: how many bytes of output the run keeps in memory; output beyond that goes to a temporary file.

    Raises:
        InvalidSetting: a limit is not a whole number, or is too small.

    """

    fanout: int | anyio.CapacityLimiter | None = 64
    retries: int = 2
    max_output: int | None = None
    memory: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        counts = [("retries", 0), ("memory", 0)]
        if self.fanout is not None and not _is_limiter(self.fanout):
            counts.append(("fanout", 1))
        if self.max_output is not None:
            counts.append(("max_output", 0))
        for name, least in counts:
            object.__setattr__(self, name, checked_count(name, getattr(self, name), least=least))


class CommandOptions(TypedDict, total=False):
    """The keyword options of `Fleet.run`: one command on the hosts of a fleet."""

    timeout: float | None
    deadline: float | None
    kill_after: float
    stdin: Input | None
    on_stop: Literal["leave", "kill", "always"]
    max_output: int | None


class UnaddressedOptions(CommandOptions, total=False):
    """The keyword options of `run()`: those of `fan_out` without `user`, which `run` also takes by position."""

    fanout: int | anyio.CapacityLimiter | None
    connect_timeout: float | None
    retries: int
    ssh: Ssh


class RunOptions(UnaddressedOptions, total=False):
    """The keyword options of `fan_out`, `stream` and `events`."""

    user: str | None


def command_text(command: Command) -> str:
    """Return `command` as the text that the remote shell gets.

    Raises:
        InvalidSetting: it is empty (ssh would start a login shell), contains a NUL character, cannot be encoded, or
            is neither text nor a sequence of texts.

    """
    if isinstance(command, str):
        text = command
    elif isinstance(command, Sequence) and all(isinstance(each, str | os.PathLike) for each in command):
        text = shlex.join(map(_path_text, command))
    else:
        raise InvalidSetting(f"command {command!r}: give text, or a sequence of texts")
    if text == "":
        raise InvalidSetting("the command is empty: ssh would start a login shell instead")
    if "\0" in text:
        raise InvalidSetting("the command contains a NUL character, which no program's argument can contain")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InvalidSetting(f"the command cannot be encoded: {error}") from None
    return text


def _path_text(argument: str | os.PathLike[str]) -> str:
    text = os.fspath(argument)
    if not isinstance(text, str):
        raise InvalidSetting(f"command argument {argument!r}: give text, or a path of text")
    return text


def _is_limiter(value: object) -> bool:
    if isinstance(value, int):
        return False
    import anyio  # late, so that importing this package stays fast

    return isinstance(value, anyio.CapacityLimiter)


def _seconds(name: str, value: object, remedy: str) -> float:
    """Return the clock `name` as a float."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float, Real)):
        raise InvalidSetting(f"{name}={value!r}: {remedy}")
    # A large int is not shown: it can have more digits than Python converts.
    if isinstance(value, int) and value > MOST_SECONDS:
        raise InvalidSetting(f"{name} is too long: give at most {MOST_SECONDS} seconds")
    seconds = float(max(value, -1)) if isinstance(value, int) else float(value)
    if not math.isfinite(seconds):
        raise InvalidSetting(f"{name}={value!r}: {remedy}")
    if seconds > MOST_SECONDS:
        raise InvalidSetting(f"{name} is too long: give at most {MOST_SECONDS} seconds")
    return seconds


def checked_count(name: str, value: object, *, least: int) -> int:
    """Return the whole number `value`, of whatever class.

    Raises:
        InvalidSetting: it is not a whole number, or less than `least`.

    """
    if isinstance(value, (int, Integral)) and not isinstance(value, bool):
        count = int(value)
        if count >= least:
            return count
    raise InvalidSetting(f"{name}={value!r}: give a whole number, {least} or more")
