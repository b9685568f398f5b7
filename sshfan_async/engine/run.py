"""`Run`: the checked settings of one run; `checked_run` builds it from the arguments of `fan_out`."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Unpack

from sshfan_async.errors import InvalidSetting
from sshfan_async.settings import Clocks, Limits, OnStop, RunOptions, Ssh, command_text
from sshfan_async.stdio.stdin import check_input
from sshfan_async.targets import Target, check_hosts, distinct, finish

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sshfan_async.settings import Command, Input
    from sshfan_async.targets import Hosts, Names

__all__ = ["Run", "check_names", "check_run", "check_ssh", "check_user", "checked_command", "checked_run"]

_SSH = Ssh()
_ON_STOP = tuple(OnStop)
_CLOCKS = tuple(field.name for field in fields(Clocks))
_LIMITS = tuple(field.name for field in fields(Limits))

_MAX_ARGUMENT = 128 * 1024 - 1
"""Bytes. An argument of a program on Linux has 128 KiB at most, its NUL included (execve(2), MAX_ARG_STRLEN)."""
_ALWAYS_FITS = 30_000
"""Characters. The wrapper needs four bytes for one character at most, and less than 8 KiB of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The settings of one run: a command, and the targets to run it on."""

    targets: Mapping[Target, str]
    """Each target and its name as the caller gave it, in order."""
    command: str
    user: str | None
    """The remote user for targets that name none."""
    ssh: Ssh
    clocks: Clocks
    limits: Limits
    stdin: Input | None
    on_stop: OnStop


def checked_run(hosts: Hosts, command: Command, **options: Unpack[RunOptions]) -> Run:
    """Return the run that the arguments of `fan_out` describe.

    Raises:
        InvalidTarget: a host, or `user`, cannot be used.
        InvalidSetting: another argument cannot be used.

    """
    return finish(finish(check_run(hosts, command, **options)))


def check_run(
    hosts: Hosts, command: Command, **options: Unpack[RunOptions]
) -> Generator[None, None, Generator[None, None, Run]]:
    """Check the arguments as `checked_run` does, in steps that take 5 ms at most.

    The result is another generator, which raises nothing: its steps find the distinct targets. Its result is the run.
    """
    check_ssh(options.get("ssh", _SSH))
    check_user(options.get("user"))
    names = yield from check_hosts(hosts)
    return _with_targets(checked_command({}, command, **options), names)


def checked_command(targets: Mapping[Target, str], command: Command, **options: Unpack[RunOptions]) -> Run:
    """Return the run of `command` on `targets`, which are checked, as `ssh` and `user` are.

    Raises:
        InvalidSetting: an argument cannot be used.

    """
    on_stop = options.get("on_stop", "kill")
    if on_stop not in _ON_STOP:
        raise InvalidSetting(f"on_stop={on_stop!r}: give 'leave', 'kill' or 'always'")
    run = Run(
        targets=targets,
        command=command_text(command),
        user=options.get("user"),
        ssh=options.get("ssh", _SSH),
        clocks=Clocks(**_chosen(_CLOCKS, options)),
        limits=Limits(**_chosen(_LIMITS, options)),
        stdin=check_input(options.get("stdin")),
        on_stop=OnStop(on_stop),
    )
    _check_length(run)
    return run


def _with_targets(run: Run, names: list[Names]) -> Generator[None, None, Run]:
    return replace(run, targets=(yield from distinct(names)))


def _check_length(run: Run) -> None:
    """Refuse a command that is too long for an argument of ssh here, or of the login shell on the host."""
    if len(run.command) < _ALWAYS_FITS:
        return
    sent = run.command
    if run.on_stop is not OnStop.LEAVE:
        from sshfan_async.process.watchdog import Wrapper, new_secret

        grace, stdin_size = run.clocks.kill_after, None if run.stdin is None else 10**12
        sent = Wrapper(sent, on_stop=run.on_stop, grace=grace, stdin_size=stdin_size).text(new_secret())
    size = len(os.fsencode(sent))
    if size > _MAX_ARGUMENT:
        raise InvalidSetting(
            f"the command has {size:,} bytes as it is sent, and an argument can have {_MAX_ARGUMENT:,}: send a long"
            " command on standard input (in Python: stdin= for the command `sh -s`; at a terminal: --script FILE)"
        )


def check_names(function: str, options: Mapping[str, object], known: type) -> None:
    """Refuse an option that is no key of `known`, a TypedDict, with the message of Python itself.

    Raises:
        TypeError: an option is unknown. The message names it and `function`.

    """
    for name in options:
        if name not in known.__optional_keys__:  # type: ignore[attr-defined]
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def check_ssh(value: object) -> None:
    """Refuse anything but an `Ssh`.

    Raises:
        InvalidSetting: `value` is something else.

    """
    if not isinstance(value, Ssh):
        raise InvalidSetting(f"ssh={value!r}: give Ssh(program=..., config_file=..., options=...)")


def check_user(user: str | None) -> None:
    """Refuse a user name that no target can have.

    Raises:
        InvalidTarget: `user` cannot be used.

    """
    if user is not None:
        Target("any", user=user)


def _chosen(names: tuple[str, ...], options: RunOptions) -> dict[str, Any]:
    """Return the options with these names. Fields without an option keep their defaults."""
    return {name: options[name] for name in names if name in options}  # type: ignore[literal-required]
