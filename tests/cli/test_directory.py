from __future__ import annotations

import grp
import os
import pwd
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from sshfan_async.cli.directory import NewFile, OutputDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OutputDirectory]:
    with OutputDirectory("--outdir", str(tmp_path)) as found:
        yield found


def test_a_file_with_the_longest_name_can_be_written(opened: OutputDirectory, tmp_path: Path) -> None:
    name = "é" * 127
    file = NewFile(opened, name)
    file.append(b"a")
    file.replace()

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"a"}


def test_the_directory_stays_the_same_if_its_path_is_exchanged(opened: OutputDirectory, tmp_path: Path) -> None:
    file = NewFile(opened, "web1")
    elsewhere, moved = tmp_path.with_name("elsewhere"), tmp_path.with_name("moved")
    elsewhere.mkdir()
    tmp_path.rename(moved)
    tmp_path.symlink_to(elsewhere)
    file.append(b"a")
    file.replace()

    assert (moved / "web1").read_bytes() == b"a"
    assert list(elsewhere.iterdir()) == []


def test_permissions_of_another_users_file_are_not_taken_over(
    monkeypatch: pytest.MonkeyPatch, opened: OutputDirectory, tmp_path: Path
) -> None:
    planted = tmp_path / "web1"
    planted.touch()
    planted.chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: planted.stat().st_uid + 1)
    NewFile(opened, "web1").replace()

    assert planted.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    ("mode", "group", "members", "answer"),
    [
        (0o755, "staff", [], False),
        (0o757, "us", [], True),
        (0o1757, "us", [], True),
        (0o775, "us", [], False),
        (0o775, "us", ["us"], False),
        (0o775, "us", ["eve"], True),
        (0o775, "staff", [], True),
    ],
)
def test_others_may_write_in_a_directory(
    monkeypatch: pytest.MonkeyPatch,
    opened: OutputDirectory,
    tmp_path: Path,
    mode: int,
    group: str,
    members: list[str],
    answer: bool,
) -> None:
    us = SimpleNamespace(pw_name="us", pw_gid=tmp_path.stat().st_gid)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: us)
    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name=group, gr_mem=members))
    tmp_path.chmod(mode)

    assert opened.others_may_write() is answer


def test_the_owner_of_a_directory_may_write_in_it(
    monkeypatch: pytest.MonkeyPatch, opened: OutputDirectory, tmp_path: Path
) -> None:
    owner = tmp_path.stat().st_uid
    if owner == 0:
        os.chown(tmp_path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert opened.others_may_write()
