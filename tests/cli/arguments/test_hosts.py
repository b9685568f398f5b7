"""Which hosts a command line names (`--list`): command lines of pdsh and clush users."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from sshfan_async.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = """
[Main]
default: local
[local]
map: case "$GROUP" in web) echo web[1-3];; db) echo db1,db2;; down) echo web2;; none) echo;; esac
all: echo web[1-3],db[1-2]
list: echo web db down none
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a groups.conf and files of hosts in the current directory."""
    (tmp_path / "clustershell").mkdir()
    (tmp_path / "clustershell" / "groups.conf").write_text(GROUPS)
    (tmp_path / "hosts").write_text("# all\nweb[1-2]\n\n  ops@db1:2222  # the old one\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "all").write_text("#include ../hosts\nweb9# the new one\n#included by nobody\n")
    (tmp_path / "circle").write_text("web1\n#include circle\n")
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbfweb1\nops#db@db2\n")
    (tmp_path / "wrong").write_text("web1\n\nweb[2\n")
    (tmp_path / "two").write_text("web1 web2\n")
    (tmp_path / "empty").write_text("# nobody\n")
    (tmp_path / "bytes").write_bytes(b"\xff\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("WCOLL", "FANOUT"):
        monkeypatch.delenv(name, raising=False)
    import ClusterShell.NodeSet

    # ClusterShell reads its configuration once per process.
    resolver = ClusterShell.NodeUtils.GroupResolverConfig([str(tmp_path / "clustershell" / "groups.conf")])
    monkeypatch.setattr(ClusterShell.NodeSet, "_DEF_RESOLVER_STD_GROUP", resolver)
    monkeypatch.setattr(ClusterShell.NodeSet, "RESOLVER_STD_GROUP", resolver)
    return tmp_path


def listed(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main([*arguments, "-q"])
    printed, said = capfd.readouterr()
    assert (code, said) == (0, "")
    return ",".join(printed.splitlines())


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        # pdsh
        (["-w", "web[1-3]"], "web1,web2,web3"),
        (["-w", "web3,web1"], "web3,web1"),
        (["-w", "web[1-3]", "-x", "web2"], "web1,web3"),
        (["-w", "web[1-3],-web2"], "web1,web3"),
        (["-w", "-web2,web[1-3]"], "web1,web3"),
        (["-w", "^hosts"], "web1,web2,ops@db1:2222"),
        (["-w", "^hosts,web9", "-x", "^hosts"], "web9"),
        (["-w", "web[1-3],-^hosts"], "web3"),
        (["-w", "^more/all"], "web1,web2,ops@db1:2222,web9"),
        (["--hostfile", "marked"], "web1,ops#db@db2"),
        (["-g", "web"], "web1,web2,web3"),
        (["-g", "web,db", "-X", "down"], "web1,web3,db1,db2"),
        (["-a"], "db1,db2,web1,web2,web3"),
        (["-a", "-x", "web[1-2]", "-X", "db"], "web3"),
        (["-w", "root@web1"], "root@web1"),
        # clush
        (["-w", "@web"], "web1,web2,web3"),
        (["-w", "web[1-3]!web2"], "web1,web3"),
        (["-w", "web1", "-w", "web2,web1"], "web1,web2"),
        (["--hostfile", "hosts"], "web1,web2,ops@db1:2222"),
        (["--hostfile=hosts", "-w", "@db", "-x", "db1"], "db2,web1,web2"),
        (["-g", "local:db"], "db1,db2"),
        (["-ax", "@web"], "db1,db2"),
        # an exclusion without user and port excludes all users and ports; an empty group excludes no host
        (["-w", "ops@web1,web1:22", "-x", "web1:22"], "ops@web1"),
        (["-w", "web1,[::1]:22", "-X", "none"], "web1,[::1]:22"),
    ],
)
def test_hosts(capfd: pytest.CaptureFixture[str], arguments: list[str], hosts: str) -> None:
    assert listed(capfd, *arguments) == hosts


def test_the_file_in_wcoll_counts_if_nothing_else_names_hosts(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WCOLL", "hosts")

    assert listed(capfd) == "web1,web2,ops@db1:2222"
    assert listed(capfd, "-x", "web1") == "web2,ops@db1:2222"
    assert listed(capfd, "-w", "web9") == "web9"


def test_hosts_from_standard_input(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("web[1-2]\ndb1\n"))

    assert listed(capfd, "-w", "-") == "web1,web2,db1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hostfile", "two"], "two, line 1: 'web1 web2'"),
        (["--hostfile", "empty"], "empty names no hosts"),
        (["--hostfile", "bytes"], "bytes, line 1: it is not text"),
        (["-w", "^wrong"], "wrong, line 3: 'web[2' is not a node set"),
        (["-w", "^circle"], "include each other"),
        (["-w", "^nosuch"], "cannot read the hosts in 'nosuch': No such file or directory"),
        (["-w", "^/dev/zero"], "/dev/zero, line 1: longer than 1048576 characters"),
        (["-w", "n[1-100000]"] * 3, "together name more than 200000 hosts"),
        (["-g", "nosuch"], "'@nosuch' is an unknown group"),
        (["-g", "none"], "names no host"),
        (["-w", "web1", "-X", "nosuch"], "'@nosuch' is an unknown group"),
        (["-w", "web1", "-x", "web[1-2]"], "every host that was named is excluded"),
        (["-w", "*"], "would match every host"),
        (["-w", "web1", "-x", ""], "-x '' names no hosts: leave the option out"),
        (["-w", "web1", "-x", " , "], "-x ' , ' names no hosts: leave the option out"),
        (["-w", ""], "-w '' names no hosts: give a node set like 'web[1-20],@db'"),
        (["-w", "web1", "-w", ","], "-w ',' names no hosts: give a node set"),
        ([], "no hosts: name them with -w"),
    ],
)
def test_hosts_that_cannot_be_used(capfd: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main([*arguments, "-q"]) == 2
    assert said in capfd.readouterr().err
