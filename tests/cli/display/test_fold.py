from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sshfan_async.cli.display.fold import briefly_folded, folded
from sshfan_async.nodesets import nodes
from sshfan_async.targets import Target

NAMES = st.from_regex(r"(a|b1|1\.|c-|)[0-9]{1,3}([-.x][0-9]{1,2})?(\.org)?", fullmatch=True)
OTHERS = st.sampled_from(
    ["ops@db1", "db1:2222", "ops@db1:2222", "[::1]:22", "fe80::1%eth0", "web", "10.0.0.1", "10.0.0.2"]
)


@settings(deadline=None)  # the first example imports ClusterShell
@given(st.lists(NAMES | OTHERS, min_size=1, max_size=12, unique=True))
def test_a_folded_set_expands_to_the_same_hosts(names: list[str]) -> None:
    assert set(nodes(folded(names))) == {Target.parse(name) for name in names}


def test_a_short_set_is_whole() -> None:
    assert briefly_folded([f"web{number}" for number in range(100_000)]) == "web[0-99999]"


@settings(deadline=None)
@given(st.lists(NAMES | OTHERS, min_size=1, max_size=30, unique=True), st.integers(1, 60))
def test_a_brief_set_says_how_many_names_it_leaves_out(names: list[str], most: int) -> None:
    shown, _, more = briefly_folded(names, most).partition(" and ")
    count = len(nodes(shown))
    assert set(nodes(shown)) == {Target.parse(name) for name in names[:count]}
    assert more == ("" if count == len(names) else f"{len(names) - count} more")
    assert len(shown) <= most or count == 1
