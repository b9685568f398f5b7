"""Odd names of hosts, and what every refusal and every target must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from sshfan_async.targets import Target

odd_text = st.text() | st.text("ab19.-_@:[]%\\#+,!&^*?/ \t\n\x1b;$`|'\"é٣\ud800")


def assert_one_printable_line(message: str) -> None:
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 400


def assert_safe(target: Target) -> None:
    for part in (target.host, target.user):
        if part is not None:
            assert part
            assert part.isascii()
            assert part.isprintable()
            assert not set(part) & set(" \"'`$;&|<>(){}[]*?!~^,")
            assert part[0] not in "-#"
            assert part[-1] != "\\"
