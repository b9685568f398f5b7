from __future__ import annotations

import inspect
from typing import Any

import pytest

from sshfan_async import Fleet, InvalidSetting
from sshfan_async.fleet.settings import checked_settings


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


def test_defaults_are_those_of_fleet() -> None:
    made = checked_settings("web1", None)
    parameters = inspect.signature(Fleet.__init__).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    holders = (made.clocks, made)
    found = {name: getattr(each, name) for name in defaults for each in holders if hasattr(each, name)}
    assert found == defaults
