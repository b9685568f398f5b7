from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

import sshfan_async
from sshfan_async.process.log_pipe import LogPipes
from tests.support.processes import descriptors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


kinds = pytest.mark.parametrize("anonymous", [True, False], ids=["anonymous", "fifo"])


@kinds
def test_another_process_writes_to_it_by_its_name(anonymous: bool, temporary: Path) -> None:
    pipes = LogPipes(anonymous=anonymous)
    pipe = pipes.open()
    subprocess.run(["sh", "-c", 'echo a >>"$1"; echo b >>"$1"', "sh", pipe.path], check=True)
    assert os.read(pipe.read_end, 100) == b"a\nb\n"
    pipe.close()
    pipes.close()


@kinds
def test_it_does_not_end_before_ssh_has_opened_it(anonymous: bool, temporary: Path) -> None:
    pipes = LogPipes(anonymous=anonymous)
    pipe = pipes.open()
    with pytest.raises(BlockingIOError):
        os.read(pipe.read_end, 1)
    pipe.close_write_end()
    assert os.read(pipe.read_end, 1) == b""
    pipe.close()
    pipes.close()


@kinds
def test_close_leaves_neither_descriptor_nor_file(anonymous: bool, temporary: Path) -> None:
    before = descriptors()
    pipes = LogPipes(anonymous=anonymous)
    for pipe in [pipes.open(), pipes.open()]:
        pipe.close_write_end()
        pipe.close()
        pipe.close()
    pipes.close()
    pipes.close()
    assert descriptors() == before
    assert list(temporary.iterdir()) == []


@kinds
def test_no_other_child_inherits_it(anonymous: bool, temporary: Path) -> None:
    pipes = LogPipes(anonymous=anonymous)
    pipe = pipes.open()
    assert not os.get_inheritable(pipe.read_end)
    assert not os.get_inheritable(pipe._write_end)
    pipe.close()
    pipes.close()


def test_fifo_is_private(temporary: Path) -> None:
    pipes = LogPipes(anonymous=False)
    pipe = pipes.open()
    assert stat.S_IMODE(os.stat(pipe.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(pipe.path)).st_mode) == 0o700
    pipe.close()
    pipes.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up being root")
def test_service_that_gave_up_root_can_still_be_written_to(tmp_path: Path) -> None:
    # Such a process is not dumpable, and its /proc/PID/fd belongs to root (proc(5), PR_SET_DUMPABLE).
    script = """
import os, subprocess
from sshfan_async.process.log_pipe import LogPipes
os.setgid(65534); os.setuid(65534)
pipes = LogPipes()
pipe = pipes.open()
subprocess.run(["sh", "-c", 'echo through >>"$1"', "sh", pipe.path], check=True)
print(os.read(pipe.read_end, 100).decode(), end="")
pipe.close()
pipes.close()
"""
    root = os.path.dirname(os.path.dirname(sshfan_async.__file__))
    ran = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env={"PYTHONPATH": root}
    )
    assert (ran.stdout, ran.stderr) == ("through\n", "")
