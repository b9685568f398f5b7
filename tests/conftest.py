"""Fixtures of all tests: a fleet of real sshd, stand-ins for ssh, and a check for children left behind."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import os
import signal
from typing import TYPE_CHECKING

import pytest
import uvloop

from sshfan_async import Ssh
from tests.support import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sshfan_async.testing import SshdFleet
    from sshfan_async.testing.pytest_plugin import SshdFleetFactory

pytest.register_assert_rewrite("tests.support.loops", "tests.support.names", "tests.support.truth")

# If the package is installed, its entry point has loaded the plugin, and pytest refuses to load it twice.
_INSTALLED = any(
    entry.value == "sshfan_async.testing.pytest_plugin" for entry in importlib.metadata.entry_points(group="pytest11")
)
pytest_plugins = (
    ["tests.support.examples"] if _INSTALLED else ["tests.support.examples", "sshfan_async.testing.pytest_plugin"]
)


# Under nohup, or in the background of a script, these signals are ignored. Children would inherit that, and no test
# could end them by a signal. A handler is not inherited across exec (execve(2)).
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, lambda *_: None)

# In the programs that the tests start, a deprecation is an error too.
os.environ["PYTHONWARNINGS"] = "error::DeprecationWarning"


@pytest.fixture(scope="module", autouse=True)
def no_garbage_of_other_modules() -> None:
    """Free what earlier modules have left: it must not close descriptors while a test counts them."""
    gc.collect()


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = processes.children()
    yield
    processes.wait_until(lambda: processes.children() <= before, "all children reaped")


@pytest.fixture(scope="session")
def fleet(sshd_fleet_factory: SshdFleetFactory) -> SshdFleet:
    """Hosts node001 to node300, with a key exchange that costs a seventh of the default one."""
    return sshd_fleet_factory(300, sshd_options={"KexAlgorithms": "curve25519-sha256"})


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[..., Ssh]:
    """Make a shell script that stands in for ssh; for `-V` it prints `version` and exits."""

    def make(script: str, *, version: str = "", name: str = "stand-in") -> Ssh:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n[ \"$1\" = -V ] && echo '{version}' && exit\n{script}\n")
        path.chmod(0o755)
        return Ssh(program=os.fspath(path))

    return make


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Each kind of event loop that a caller may have."""
    made: Callable[[], asyncio.AbstractEventLoop] = request.param
    return made
