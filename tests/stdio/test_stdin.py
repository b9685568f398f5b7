from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import InvalidSetting
from sshfan_async.stdio.stdin import check_input

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789" * 3)
    return path


@pytest.mark.parametrize("value", [7, ["a"], io.StringIO("a"), "\ud800", object()])
def test_what_is_no_input_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSetting, match="stdin="):
        check_input(value)


def test_file_open_for_text_is_refused(path: Path) -> None:
    with path.open() as file, pytest.raises(InvalidSetting, match="binary mode"):
        check_input(file)


def test_file_open_for_writing_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file, pytest.raises(InvalidSetting, match="stdin="):
        check_input(file)


def test_closed_file_is_refused(path: Path) -> None:
    with path.open("rb") as file:
        pass
    with pytest.raises(InvalidSetting, match="stdin="):
        check_input(file)
