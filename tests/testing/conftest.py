from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from sshfan_async.testing import SshdFleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def fleet() -> Iterator[SshdFleet]:
    with SshdFleet(5, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as running:
        yield running


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory in which every fleet makes its own, to check what is left there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path
