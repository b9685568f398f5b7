from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sshfan_async.cli.display.fold import folded
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
