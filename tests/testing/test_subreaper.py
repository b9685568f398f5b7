from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sshfan_async.testing import subreaper
from tests.support import processes
from tests.support.project import PYTHONPATH


def test_death_of_the_owner_by_sigkill_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "from sshfan_async.testing import SshdFleet\nwith SshdFleet() as f: print(f.sshd_pid, flush=True); input()"
    )
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "TMPDIR": str(tmp_path)}
    owner = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        sshd = int(owner.stdout.readline())
        subreaper_pid = int(Path(f"/proc/{sshd}/stat").read_text().rpartition(")")[2].split()[1])
        ended = os.pidfd_open(subreaper_pid)
        owner.kill()
    try:
        assert select.select([ended], [], [], 10)[0] == [ended]
    finally:
        os.close(ended)
    assert processes.is_gone(sshd)
    assert list(tmp_path.iterdir()) == []


def test_privilege_separation_directory_goes_with_the_last_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sshd"
    monkeypatch.setattr(subreaper, "PRIVSEP_DIRECTORY", str(path))
    first, second = subreaper.hold_privsep_directory(), subreaper.hold_privsep_directory()
    subreaper.release_privsep_directory(first)
    os.close(first)
    assert path.stat().st_mode & 0o777 == 0o755
    subreaper.release_privsep_directory(second)
    os.close(second)
    assert not path.exists()


def test_privilege_separation_directory_of_the_system_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subreaper, "PRIVSEP_DIRECTORY", str(tmp_path))
    held = subreaper.hold_privsep_directory()
    subreaper.release_privsep_directory(held)
    os.close(held)
    assert tmp_path.is_dir()


@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed")
def test_descendants_found_by_ps_do_not_include_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subreaper, "parents_from_proc", subreaper.parents_from_ps)
    before = subreaper.descendants()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert subreaper.descendants() - before == {child.pid}
