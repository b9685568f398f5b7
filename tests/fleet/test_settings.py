from __future__ import annotations

from typing import Any

import pytest

from sshfan_async import Fleet, InvalidSetting


@pytest.mark.parametrize(
    "options",
    [
        {"idle_timeout": 0},
        {"max_age": -1.0},
        {"max_age": 3e9},
        {"sessions": 0},
        {"fanout": "many"},
        {"fanout": 0},
        {"connect_timeout": 0},
        {"retries": -1},
        {"ssh": "ssh"},
    ],
)
def test_impossible_setting_is_refused_before_anything_starts(options: dict[str, Any]) -> None:
    (setting,) = options
    with pytest.raises(InvalidSetting, match=setting):
        Fleet("web1", **options)
