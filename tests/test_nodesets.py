from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from ClusterShell.NodeSet import set_std_group_resolver, set_std_group_resolver_config
from hypothesis import given, settings
from hypothesis import strategies as st

from sshfan_async.errors import InvalidTarget
from sshfan_async.nodesets import Expansion, nodes
from sshfan_async.targets import Target
from tests.support.names import assert_one_printable_line, assert_safe, odd_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROUPS_CONF = """\
[Main]
default: cluster
autodir: $CFGDIR/groups.d

[shell]
map: echo $GROUP

[silent]
map: true

[broken]
map: false

[listing]
map: echo $GROUP
list: echo 'good $(echo${IFS}x>marker) ;id'
"""

CLUSTER_YAML = """\
cluster:
    web: 'web[1-3]'
    db: 'db1,root@db2'
    rack1: 'n1'
    rack2: 'n2'
    both: '@db,@rack[1-2]'
    empty: ''
more:
    db: 'extra1'
odd:
    loop: '@loop'
    shell: 'web1,@shell:$(echo${IFS}x>marker)'
    ghost: 'web1,@nope'
    wide: 'web1[9,10]'
huge:
    all: 'n[1-1000000000]'
"""


@pytest.fixture(scope="module", autouse=True)
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Set ClusterShell's groups for every test of this file; yield their directory."""
    folder = tmp_path_factory.mktemp("clustershell")
    (folder / "groups.conf").write_text(GROUPS_CONF)
    (folder / "groups.d").mkdir()
    (folder / "groups.d" / "cluster.yaml").write_text(CLUSTER_YAML)
    set_std_group_resolver_config(str(folder / "groups.conf"))
    yield folder
    set_std_group_resolver(None)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("web[1-3]", ["web1", "web2", "web3"]),
        ("web[08-10,3]", ["web3", "web08", "web09", "web10"]),
        ("a[1-2]b[3-4]", ["a1b3", "a1b4", "a2b3", "a2b4"]),
        ("web[1, 3]", ["web1", "web3"]),
        ("web[1-5/2]", ["web1", "web3", "web5"]),
        (" web2 , web[1-2]\n, db1 ", ["web2", "web1", "db1"]),
        ("web[1-4]!web[2-3]", ["web1", "web4"]),
        ("web[1-3]&web[2-4]", ["web2", "web3"]),
        ("web[1-2]^web[2-3]", ["web1", "web3"]),
        ("b!b,a,b", ["a", "b"]),
        ("web1!ops@web1", ["web1"]),
        ("ops@web[1-2]:2222", ["ops@web1:2222", "ops@web2:2222"]),
        ("CORP\\ops@web[1-2]", ["CORP\\ops@web1", "CORP\\ops@web2"]),
        ("[::1]:22,::1,fe80::[1-2]%eth0", ["[::1]:22", "::1", "fe80::1%eth0", "fe80::2%eth0"]),
        ("ops@[::1],::2![::2]", ["ops@::1"]),
        ("@web", ["web1", "web2", "web3"]),
        ("web9,@web!web2", ["web9", "web1", "web3"]),
        ("@rack[1-2]", ["n1", "n2"]),
        ("@both!n2", ["db1", "n1", "root@db2"]),
        ("@more:db", ["extra1"]),
        ("@more:*", ["extra1"]),
        ("web1,@empty", ["web1"]),
        ("ops@@db", ["ops@db1", "ops@db2"]),
        ("ops@example.org@@more:db", ["ops@example.org@extra1"]),
        ("@shell:n7", ["n7"]),
        ("@more:*,@*", ["extra1", "db1", "n1", "n2", "root@db2", "web1", "web2", "web3"]),
        ("web?,*b1", ["web1", "web2", "web3", "db1"]),
        ("n[1-2]*", ["n1", "n2"]),
        ("ops@w*", ["ops@web1", "ops@web2", "ops@web3"]),
    ],
)
def test_nodes_expands_in_the_order_written(text: str, expanded: list[str]) -> None:
    assert [str(target) for target in nodes(text)] == expanded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no host"),
        (" \n", "names no host"),
        ("web1!web1", "'web1!web1' names no host"),
        ("@empty", "'@empty' names no host"),
        ("web1,,web2", "is missing a name"),
        ("web1,", "is missing a name"),
        ("!web1", "is missing a name"),
        ("*", "'*' would match every host"),
        ("web[1-2],ops@*", "'ops@*' would match every host"),
        ("web1,nope*", "'nope*' matches no host"),
        ("nope?", "'nope?' matches no host"),
        ("@nope", "'@nope' is an unknown group"),
        ("web1,@nope", "'@nope' is an unknown group"),
        ("web1!@nope", "'@nope' is an unknown group"),
        ("ops@@nope", "'@nope' is an unknown group"),
        ("@rack[1-3]", "'@rack3' is an unknown group"),
        ("@more:web", "'@more:web' is an unknown group"),
        (
            "@odd:ghost",
            "'@odd:nope' is an unknown group: `nodeset -L` lists the known ones (named by '@odd:ghost')",
        ),
        ("@silent:nope", "'@silent:nope' is an unknown group"),
        ("@broken:nope", "'@broken:nope' cannot be looked up"),
        ("@nope:web", "'@nope:web' has an unknown group source"),
        ("@nope:*", "'@nope:*' cannot be expanded"),
        ("@odd:loop", "'@odd:loop' cannot be expanded"),
        ("@@cluster", "'@@cluster' is not a group"),
        ("@", "'@' is not a group"),
        ("@w*", "'@w*' is not a group"),
        ("@-x", "'@-x' is not a group"),
        ("web[1-3", "'web[1-3' is not a node set"),
        ("web1]", "'web1]' is not a node set"),
        ("web[[1-3]]", "'web[[1-3]]' is not a node set"),
        ("web[]", "the range ''"),
        ("web[a-b]", "the range 'a-b'"),
        ("web[-1-3]", "the range '-1-3'"),
        ("web[3-1]", "ClusterShell says"),
        ("web[1-3/0]", "ClusterShell says"),
        ("web[1-2][3-4]", "ClusterShell says"),
        ("web٣[1-2]", "is not a node set"),
        ("-o[1-2]", "'-o1' starts with '-'"),
        ("web1 web[2-3]", "contains ' '"),
        ("web[1-2]:0", "port 0"),
        ("ops:s3cret@web[1-2]", "user 'ops' is followed by ':'"),
    ],
)
def test_nodes_refuses_and_names_the_value(text: str, message: str) -> None:
    with pytest.raises(InvalidTarget) as refusal:
        nodes(text)
    assert message in str(refusal.value)
    assert_one_printable_line(str(refusal.value))


@pytest.mark.parametrize("text", [None, 7, b"web1", ["web1"]])
def test_nodes_takes_only_text(text: Any) -> None:
    with pytest.raises(InvalidTarget, match="is not text"):
        nodes(text)


@pytest.mark.parametrize(
    "text",
    [
        "a[1-1000000000]",
        "a[1-99999]b[1-99999]",
        "a[1-50000,60000-999999999]",
        "web1!a[1-1000000000]",
        "@rack[1-1000000000]",
        "@huge:all",
        "@huge:*",
        "a[1-60000],b[1-60000]",
    ],
)
def test_nodes_refuses_more_than_the_limit_before_it_takes_memory(text: str) -> None:
    with pytest.raises(InvalidTarget, match="names more than 100000 hosts"):
        nodes(text)


def test_nodes_takes_as_many_as_the_limit() -> None:
    assert len(nodes("n[1-100000]")) == 100_000
    assert len(nodes("n[1-3]", limit=3)) == 3
    with pytest.raises(InvalidTarget, match="names more than 2 hosts"):
        nodes("@web", limit=2)


@pytest.mark.parametrize("text", ["web1[9,10]", "web1[8-12]", "@odd:wide"])
def test_nodes_refuses_ranges_that_clustershell_would_widen(text: str) -> None:
    with pytest.raises(InvalidTarget, match="is ambiguous"):
        nodes(text)


@pytest.mark.parametrize("group", ["x;>marker", "$(>marker)", "`>marker`", "x\n>marker", "x >marker"])
def test_a_group_name_never_reaches_a_shell_as_code(group: str, groups: Path) -> None:
    with pytest.raises(InvalidTarget, match="is not a group"):
        nodes(f"@shell:{group}")
    assert not (groups / "marker").exists()


def test_a_group_name_inside_group_data_never_reaches_a_shell_as_code(groups: Path) -> None:
    with pytest.raises(InvalidTarget, match="cannot be the name of a group"):
        nodes("@odd:shell")
    assert not (groups / "marker").exists()


def test_group_names_that_a_source_lists_never_reach_a_shell_as_code(groups: Path) -> None:
    assert nodes("@listing:*") == [Target("good")]
    assert not (groups / "marker").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a[1]" * 64000, "more than 16 brackets"),
        (",".join(["n[1-100000]"] * 20), "together name more than 200000 hosts"),
        ("n[1-100000],n[1-100000]!n[1-100000]", "together name more than 200000 hosts"),
        ("[" + ":" * 32768, "is not a node set"),
        ("x" * 10**7, "longer than 4194304 characters"),
    ],
)
def test_the_work_for_hostile_text_is_bounded(text: str, message: str) -> None:
    with pytest.raises(InvalidTarget, match=message):
        nodes(text)


def test_one_budget_holds_for_all_sets_that_are_expanded_together() -> None:
    expansion = Expansion(limit=10)
    assert len(expansion.expand("n[1-10]")) == len(expansion.expand("m[1-10]")) == 10
    with pytest.raises(InvalidTarget, match="together name more than 20 hosts"):
        expansion.expand("web1")


@settings(deadline=None)  # may call a group source
@given(odd_text)
def test_any_text_expands_to_safe_targets_or_is_refused_in_one_line(text: str) -> None:
    try:
        found = nodes(text, limit=1000)
    except InvalidTarget as refusal:
        assert_one_printable_line(str(refusal))
    else:
        assert 0 < len(set(found)) == len(found) <= 1000
        for target in found:
            assert_safe(target)


number = st.integers(0, 120).map(str) | st.integers(0, 120).map("{:03}".format)
numbers = st.lists(st.tuples(number, st.integers(0, 12)), min_size=1, max_size=3)


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "a1", "b0c", "7"]), numbers), min_size=1, max_size=2),
    st.sampled_from(["", "z", "5", "z05", "05"]),
)
def test_nodes_names_exactly_the_hosts_that_the_ranges_spell(
    parts: list[tuple[str, list[tuple[str, int]]]], suffix: str
) -> None:
    text, axes = "", []
    for prefix, ranges in parts:
        ends = [(first, f"{int(first) + more:0{len(first)}}") for first, more in ranges]
        text += f"{prefix}[{','.join(f'{first}-{last}' for first, last in ends)}]"
        axes.append(
            [
                f"{prefix}{value:0{len(first) if first.startswith('0') else 1}}"
                for first, last in ends
                for value in range(int(first), int(last) + 1)
            ]
        )
    spelt = {"".join(each) + suffix for each in itertools.product(*axes)}
    try:
        found = nodes(text + suffix)
    except InvalidTarget:
        return
    assert {str(target) for target in found} == spelt


def test_groups_are_not_those_of_the_example_that_clustershell_installs() -> None:
    """The example is below `sys.prefix`, in a virtual environment too."""
    code = "from sshfan_async.nodesets import group_resolver; print(*group_resolver().filenames, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "/etc/clustershell/groups.conf" in done.stdout.splitlines()
    assert not [path for path in done.stdout.splitlines() if path.startswith(f"{sys.prefix}/etc/")]


def test_clustershell_is_imported_only_to_expand_and_reads_the_users_groups(groups: Path) -> None:
    program = (
        "import sys; from sshfan_async.nodesets import Expansion, nodes; nodes('web1,ops@[::1]:22');"
        "print('ClusterShell' in sys.modules, *nodes('@db'))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"CLUSTERSHELL_CFGDIR": str(groups)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == "False db1 root@db2\n"
