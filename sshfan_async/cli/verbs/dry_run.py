"""`--dry-run`: print the ssh command lines of a run, and the settings that override your ssh_config."""

from __future__ import annotations

import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sshfan_async.cli.display.fold import folded
from sshfan_async.cli.output import STDOUT, write
from sshfan_async.errors import InvalidSetting
from sshfan_async.escape import visible
from sshfan_async.loop.loops import run_alone
from sshfan_async.process.argv import common_argv, target_argv
from sshfan_async.process.client import ask_version, find_program
from sshfan_async.settings import OnStop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sshfan_async.engine.run import Run
    from sshfan_async.targets import Target

__all__ = ["dry_run"]

_TIMEOUT = 10.0
"""Seconds for one `ssh -G`: a `Match exec` in the user's ssh_config can be slow."""
_CONCURRENCY = 4


def dry_run(run: Run) -> int:
    """Print the ssh command lines, run nothing on any host, and return the exit code.

    Raises:
        InvalidSetting: the ssh program is not installed, or cannot be started.

    """
    try:
        path = find_program(run.ssh)
        client = run_alone(ask_version, path)
    except FileNotFoundError as error:
        raise InvalidSetting(f"no such program: {str(error)!r}: install the package openssh-client") from None
    except OSError as error:
        raise InvalidSetting(f"cannot start {path!r}: {error.strerror or error}") from None
    common = common_argv(run.ssh, client, connect_timeout=run.clocks.connect_timeout)
    lines = [
        shlex.join(target_argv(common, target, run.command, user=run.user, log_path=os.devnull))
        for target in run.targets
    ]
    for line in lines:
        _print(line)
    found = _overrides_of_all(run, common)
    hosts_by_overrides: dict[tuple[str, ...], list[str]] = {}
    for name, overrides in zip(run.targets.values(), found, strict=True):
        hosts_by_overrides.setdefault(overrides, []).append(name)
    for overrides, names in hosts_by_overrides.items():
        _print(f"# settings that override your ssh_config for {folded(names)}:")
        for override in overrides:
            _print(f"#   {override}")
    _print("# in a real run, ssh's log (-E) goes to a pipe of sshfan, not to /dev/null")
    if run.stdin is not None:
        _print("# standard input is sent to the command")
    if run.on_stop is not OnStop.LEAVE:
        _print("# the command runs in a wrapper on the host, which can kill it; --kill=never: no wrapper")
    return 0


def _overrides_of_all(run: Run, common: tuple[str, ...]) -> list[tuple[str, ...]]:
    def overrides(target: Target) -> tuple[str, ...]:
        return _overrides(run, common, target)

    try:
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            return list(pool.map(overrides, run.targets))
    except RuntimeError:  # no thread can be started
        return list(map(overrides, run.targets))


def _print(line: str) -> None:
    write(STDOUT, visible(line).encode() + b"\n")


def _overrides(run: Run, common: tuple[str, ...], target: Target) -> tuple[str, ...]:
    """Return the settings that differ between `ssh -G` (print the configuration) with and without our options."""
    ours = target_argv((*common[:1], "-G", *common[1:]), target, "true", user=run.user, log_path=os.devnull)
    plain = [common[0], "-G"]
    if run.ssh.config_file is not None:
        plain += ["-F", os.fspath(run.ssh.config_file)]
    try:
        before, after = _configuration([*plain, "--", target.host]), _configuration(ours)
    except (OSError, subprocess.SubprocessError) as error:
        return (f"unknown, ssh -G failed: {error}",)
    return tuple(_differences(before, after))


def _differences(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for key, value in after.items():
        was = before.get(key)
        if was != value:
            yield f"{key} {value} (was {was})" if was is not None else f"{key} {value}"
    yield from (f"{key}: none (was {was})" for key, was in before.items() if key not in after)


def _configuration(argv: list[str]) -> dict[str, str]:
    ran = subprocess.run(
        argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, start_new_session=True
    )
    if ran.returncode != 0:
        messages = ran.stderr.decode("utf-8", "backslashreplace").strip().splitlines() or ["no message"]
        raise subprocess.SubprocessError(messages[-1])
    found: dict[str, str] = {}
    for line in ran.stdout.decode("utf-8", "backslashreplace").splitlines():
        key, _, value = line.partition(" ")
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found
