from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sshfan_async.process.descriptors import BUDGET

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_lease_is_left() -> Iterator[None]:
    yield
    assert BUDGET._leased == 0
