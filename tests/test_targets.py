from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from ClusterShell.NodeSet import set_std_group_resolver, set_std_group_resolver_config
from hypothesis import given, settings
from hypothesis import strategies as st

from sshfan_async.errors import InvalidTarget
from sshfan_async.nodesets import nodes
from sshfan_async.targets import Target, targets

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
    ghost: 'web1,@nope'
    wide: 'web1[9,10]'
huge:
    all: 'n[1-1000000000]'
"""

odd_text = st.text() | st.text("ab19.-_@:[]%\\#+,!&^*?/ \t\n\x1b;$`|'\"é٣\ud800")


@pytest.fixture(scope="module", autouse=True)
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """ClusterShell's groups for every test of this file; yields their directory."""
    folder = tmp_path_factory.mktemp("clustershell")
    (folder / "groups.conf").write_text(GROUPS_CONF)
    (folder / "groups.d").mkdir()
    (folder / "groups.d" / "cluster.yaml").write_text(CLUSTER_YAML)
    set_std_group_resolver_config(str(folder / "groups.conf"))
    yield folder
    set_std_group_resolver(None)


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
            assert not set(part) & set(" \"'`$;&|<>(){}[]*?!~^,/=")
            assert part[0] not in "-#"
            assert part[-1] != "\\"


# --- Target ---


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("web1", Target("web1")),
        ("web_1.example.org.", Target("web_1.example.org.")),
        ("192.0.2.1:22", Target("192.0.2.1", None, 22)),
        ("ops@web1:2222", Target("web1", "ops", 2222)),
        ("ops@example.org@web1", Target("web1", "ops@example.org")),
        ("CORP\\ops@web1", Target("web1", "CORP\\ops")),
        ("ops#db1@bastion", Target("bastion", "ops#db1")),
        ("::1", Target("::1")),
        ("[::1]", Target("::1")),
        ("::1:22", Target("::1:22")),
        ("ops@[::1]:22", Target("::1", "ops", 22)),
        ("ops@fe80::1%eth0", Target("fe80::1%eth0", "ops")),
        ("[::ffff:192.0.2.1]:65535", Target("::ffff:192.0.2.1", None, 65535)),
        ("x" * 255, Target("x" * 255)),
    ],
)
def test_parse_takes_the_text_form(text: str, target: Target) -> None:
    assert Target.parse(text) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no host"),
        ("ops@", "'ops@' names no host"),
        (":22", "':22' names no host"),
        ("@web", "expand a group with nodes()"),
        ("ops@@web@web1", "user 'ops@@web' has one '@' too many"),
        ("ops@@web", "expand a group with nodes()"),
        ("web[1-3]", "expand a node set with nodes()"),
        ("web1,web2", "expand a node set with nodes()"),
        ("web*", "expand a node set with nodes()"),
        ("ssh://web1", "'ssh://web1' is a URL"),
        ("-oProxyCommand=x", "'-oProxyCommand=x' starts with '-'"),
        ("ops@-oProxyCommand=x", "'-oProxyCommand=x' starts with '-'"),
        ("-l@web1", "user '-l' starts with '-'"),
        ("#ops@web1", "user '#ops' starts with '#'"),
        ("ops\\@web1", "ends with '\\'"),
        ("%r@web1", "user '%r' contains '%'"),
        ("web1 ", "'web1 ' contains ' '"),
        ("web1\n", r"'web1\n' contains '\n'"),
        ("web1\x1b[2J", r"'web1\x1b[2J'"),
        ("web1;id", "contains ';'"),
        ("$(id)", "contains '$'"),
        ("bücher.example", r"contains '\xfc'"),
        ("web1:", "no port number"),
        ("web1:ssh", "'web1:ssh' has no port number"),
        ("web1:+22", "no port number"),
        ("web1:٢٢", "no port number"),
        ("web1:" + "9" * 5000, "no port number"),
        ("web1:0", "port 0 of 'web1'"),
        ("web1:65536", "port 65536 of 'web1'"),
        ("web1:22:33", "'web1:22:33' is not an IPv6 address"),
        ("[web1]:22", "'[web1]' is not a single host"),
        ("[::1", "'[::1' is not a single host"),
        ("[::1]22", "'[::1]22' is not a single host"),
        ("fe80::1%", "not an IPv6 address"),
        ("fe80::1%a%b", "not an IPv6 address"),
        ("web1%eth0", "not an IPv6 address"),
        ("x" * 256, "longer than 255 characters"),
        ("x" * 1000 + "@web1", "longer than 255 characters"),
    ],
)
def test_parse_refuses_and_names_the_value(text: str, message: str) -> None:
    with pytest.raises(InvalidTarget) as refusal:
        Target.parse(text)
    assert message in str(refusal.value)
    assert_one_printable_line(str(refusal.value))


@pytest.mark.parametrize(
    "text",
    ["ops:s3cret@web1", "ops:s3cret@", "ops:@s3cret@-web1", "ops:s3cret@web1:x", "ssh://ops:s3cret@web1"],
)
def test_a_password_is_not_repeated(text: str) -> None:
    for refuse in (Target.parse, Target, nodes):
        with pytest.raises(InvalidTarget) as refusal:
            refuse(text)
        assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "arguments",
    [
        (None,),
        (b"web1",),
        ("[::1]",),
        ("ops@web1",),
        ("web1", ""),
        ("web1", 7),
        ("web1", "ops:s3cret"),
        ("web1", None, "22"),
        ("web1", None, True),
        ("web1", None, 22.0),
    ],
)
def test_a_target_checks_its_parts(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidTarget) as refusal:
        Target(*arguments)
    assert_one_printable_line(str(refusal.value))
    assert "s3cret" not in str(refusal.value)


valid_users = st.from_regex(r"[A-Za-z0-9._+\\][A-Za-z0-9._+@\\#-]{0,20}", fullmatch=True).filter(
    lambda user: "@@" not in user and user[-1] not in "@\\"
)
valid_targets = st.builds(
    Target,
    st.from_regex(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,20}", fullmatch=True)
    | st.ip_addresses().map(str)
    | st.ip_addresses(v=6).map(lambda address: f"{address}%eth-0.1"),
    st.none() | valid_users,
    st.none() | st.integers(1, 65535),
)


@given(valid_targets)
def test_the_text_form_round_trips(target: Target) -> None:
    assert Target.parse(str(target)) == target
    assert nodes(str(target)) == [target]
    assert pickle.loads(pickle.dumps(target)) == target


@given(odd_text)
def test_any_text_parses_to_a_safe_target_or_is_refused_in_one_line(text: str) -> None:
    try:
        target = Target.parse(text)
    except InvalidTarget as refusal:
        assert_one_printable_line(str(refusal))
    else:
        assert_safe(target)
        assert Target.parse(str(target)) == target


# --- targets() ---


def test_targets_keeps_the_order_and_the_first_name() -> None:
    given_names: list[str | Target] = ["web2", "[::1]", Target("web1"), "::1", Target("::1"), "web1", "web1:22"]
    assert list(targets(given_names).items()) == [
        (Target("web2"), "web2"),
        (Target("::1"), "[::1]"),
        (Target("web1"), "web1"),
        (Target("web1", None, 22), "web1:22"),
    ]


@pytest.mark.parametrize("hosts", ["ops@web1", Target("web1", "ops"), iter(["ops@web1"]), {"ops@web1"}])
def test_targets_takes_one_name_or_an_iterable(hosts: Any) -> None:
    assert targets(hosts) == {Target("web1", "ops"): "ops@web1"}


def test_targets_of_nothing_is_empty() -> None:
    assert targets([]) == {}


@pytest.mark.parametrize("hosts", [None, 7, b"web1", {"web1": 1}, [None], [b"web1"], [["web1"]], "web[1-3]"])
def test_targets_refuses_what_is_no_name(hosts: Any) -> None:
    with pytest.raises(InvalidTarget) as refusal:
        targets(hosts)
    assert_one_printable_line(str(refusal.value))


def test_targets_of_100_000_names_take_less_than_2_seconds() -> None:
    given_names = [f"ops@node{number}.example.org:2222" for number in range(100_000)]
    began = time.process_time()
    assert len(targets(given_names)) == 100_000
    assert time.process_time() - began < 2


# --- nodes() ---


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
        ("web1,,web2", "missing a name"),
        ("web1,", "missing a name"),
        ("!web1", "missing a name"),
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
    """It lies below `sys.prefix`, where Python has a place of its own."""
    code = "from sshfan_async.nodesets import group_resolver; print(*group_resolver().filenames, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "/etc/clustershell/groups.conf" in done.stdout.splitlines()
    assert not [path for path in done.stdout.splitlines() if path.startswith(f"{sys.prefix}/etc/")]


def test_clustershell_is_imported_only_to_expand_and_reads_the_users_groups(groups: Path) -> None:
    program = (
        "import sys; from sshfan_async.nodesets import nodes; nodes('web1,ops@[::1]:22');"
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
