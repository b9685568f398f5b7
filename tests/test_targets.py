from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async import targets as targets_module
from sshfan_async.errors import InvalidTarget
from sshfan_async.nodesets import nodes
from sshfan_async.targets import Target, check_hosts, distinct, finish, targets
from tests.support.names import assert_one_printable_line, assert_safe, odd_text

# Target


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
        ("DOM/op@web1", Target("web1", "DOM/op")),
        ("ops=root@bastion", Target("bastion", "ops=root")),
        (" web1\n", Target("web1")),
        ("\tops@[::1]:22 ", Target("::1", "ops", 22)),
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
        ("web 1", "'web 1' contains ' '"),
        ("web\n1", r"'web\n1' contains '\n'"),
        ("web1\x1b[2J", r"'web1\x1b[2J'"),
        ("web1;id", "contains ';'"),
        ("$(id)", "contains '$'"),
        ("bücher.example", r"contains '\xfc'"),
        ("web1:", "no port number"),
        ("web1:ssh", "'web1:ssh' has no port number"),
        ("web1:+22", "no port number"),
        ("web1:٢٢", "no port number"),
        ("web1:" + "9" * 900, "no port number"),
        ("[" + ":" * 32768, "longer than 1024 characters"),
        ("x" * 10**7, "longer than 1024 characters"),
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


def test_a_password_beyond_what_is_shown_is_not_repeated() -> None:
    with pytest.raises(InvalidTarget) as refusal:
        Target.parse("ops:" + "s3cret" * 100_000 + "@web1")
    assert "s3cret" not in str(refusal.value)


# targets()


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


def test_white_space_around_a_name_is_dropped_at_every_door() -> None:
    assert targets([" web1\n", "web1"]) == {Target("web1"): "web1"}


def parsed_one_by_one(names: list[str | Target]) -> dict[Target, str]:
    found: dict[Target, str] = {}
    for name in names:
        if isinstance(name, Target):
            found.setdefault(name, str(name))
        else:
            found.setdefault(Target.parse(name), name.strip())
    return found


spellings = valid_targets.flatmap(lambda target: st.sampled_from([target, str(target), f" {target}\n"]))


@given(st.lists(spellings | st.sampled_from(["web1", "web1:22", "web1:022", "[::1]", "::1"])))
def test_names_are_the_same_checked_together_or_one_by_one(names: list[str | Target]) -> None:
    checked, expected = finish(distinct(finish(check_hosts(names)))), parsed_one_by_one(names)
    assert list(checked.items()) == list(expected.items())
    assert list(checked) == list(expected)
    assert list(checked.values()) == list(expected.values())
    assert [checked[target] for target in expected] == list(expected.values())
    assert checked == expected
    assert Target("not-there") not in checked


@given(st.lists(odd_text | st.from_regex(r"[a@:.\n0-]{1,6}", fullmatch=True), min_size=1, max_size=3))
def test_names_are_refused_together_as_one_by_one(names: list[str]) -> None:
    expected: dict[Target, str] | str
    try:
        expected = parsed_one_by_one(list(names))
    except InvalidTarget as refusal:
        expected = str(refusal)
    found: dict[Target, str] | str
    try:
        found = targets(names)
    except InvalidTarget as refusal:
        found = str(refusal)
    assert found == expected


@pytest.mark.parametrize("form", ["node{}", "ops@node{}:22", " node{}"])
def test_names_are_checked_a_thousand_in_one_step(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    are_plain = targets_module._are_plain

    def counted(piece: tuple[str | Target, ...]) -> bool:
        checked.append(len(piece))
        return are_plain(piece)

    monkeypatch.setattr(targets_module, "_are_plain", counted)
    steps = check_hosts(form.format(number) for number in range(2500))
    next(steps)
    assert checked == [1000]
    together = distinct(finish(steps))
    assert checked == [1000, 1000, 500]
    assert len(list(together)) == 2


def test_names_are_read_before_the_first_step_ends() -> None:
    names = [f"node{number}" for number in range(1500)]
    steps = check_hosts(names)
    next(steps)
    names[1400:] = ["changed later"]
    assert len(finish(distinct(finish(steps)))) == 1500
