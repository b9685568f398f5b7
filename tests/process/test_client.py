"""Which ssh it is: the answers of programs to `-V`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from sshfan_async.process.client import ask_version
from tests.support.processes import PATIENCE, children, descriptors

if TYPE_CHECKING:
    from pathlib import Path


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_version_of_this_machines_ssh() -> None:
    version = (await ask_version("ssh", PATIENCE)).version
    assert version is not None
    assert version >= (7, 0)


async def test_program_that_does_not_answer_is_a_stand_in_and_ends(tmp_path: Path) -> None:
    program = script(tmp_path, "sleep 30 & wait")
    began = time.monotonic()
    assert (await ask_version(program, 0.2)).version is None
    assert time.monotonic() - began < 30  # its `sleep`


async def test_program_that_says_something_else_is_a_stand_in(tmp_path: Path) -> None:
    assert (await ask_version(script(tmp_path, "echo 'plink: Release 0.78'"), PATIENCE)).version is None


async def test_version_does_not_wait_for_a_process_that_holds_the_pipe(tmp_path: Path) -> None:
    program = script(tmp_path, "sleep 10 & echo OpenSSH_9.9p1")
    began = time.monotonic()
    assert (await ask_version(program, PATIENCE)).version == (9, 9)
    assert time.monotonic() - began < 10  # the lifetime of the process that holds the pipe


async def test_cancelled_version_query_leaves_no_child(tmp_path: Path) -> None:
    program = script(tmp_path, "exec sleep 30")
    before, open_before = children(), descriptors()
    for turns in range(12):
        asking = asyncio.create_task(ask_version(program, PATIENCE))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert children() == before
    assert descriptors() == open_before
