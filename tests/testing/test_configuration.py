from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sshfan_async.errors import FleetUnavailable, InvalidSetting
from sshfan_async.testing import SshdFleet
from sshfan_async.testing.configuration import Layout, sshd_config
from tests.support.ssh_client import ssh


def test_options_replace_the_defaults_and_repeat() -> None:
    options = {"maxsessions": "0", "AcceptEnv": ["LANG", "SSHFAN_*"]}
    with SshdFleet(1, sshd_options=options) as fleet:
        text = (fleet.directory / "sshd_config").read_text()
        refused = ssh(fleet, "node001", "true")
    assert "MaxSessions" not in text
    assert "AcceptEnv LANG\nAcceptEnv SSHFAN_*\n" in text
    assert refused.returncode == 255


def test_refused_option_is_told_in_the_words_of_sshd(temporary: Path) -> None:
    with pytest.raises(FleetUnavailable, match=r"refused to start: .*Bad configuration option: NoSuchOption"):
        SshdFleet(sshd_options={"NoSuchOption": "1"}).__enter__()
    assert list(temporary.iterdir()) == []


def test_options_may_be_numbers_and_truths() -> None:
    with SshdFleet(1, sshd_options={"MaxSessions": 5, "PermitTTY": False, "SetEnv": []}) as fleet:
        text = (fleet.directory / "sshd_config").read_text()
        fleet.add_host("closed", options={"Port": 1, "Compression": True, "SendEnv": ["A", "B"]})
        config = fleet.ssh_config.read_text()
    assert "MaxSessions 5\nPermitTTY no\n" in text
    assert "MaxSessions 4096" not in text
    assert "SetEnv" not in text
    assert config.startswith("Host closed\nPort 1\nCompression yes\nSendEnv A\nSendEnv B\n")


@pytest.mark.parametrize(
    "options",
    [{"port": "22"}, {"A b": "c"}, {"Banner": "x\nPort 22"}, {"AcceptEnv": ["a\0"]}, {"AcceptEnv": [1]},
     {"MaxSessions": None}, {"MaxSessions": 1.5}, {"Banner": b"x"}, {1: "x"}, "MaxSessions=5", 5],
)  # fmt: skip
def test_impossible_options_are_refused_at_the_door(options: Any) -> None:
    with pytest.raises(InvalidSetting, match="option"):
        SshdFleet(sshd_options=options)


def test_penalties_are_off_if_sshd_has_them() -> None:
    def written(version: tuple[int, int]) -> str:
        return sshd_config(Layout(Path("/d")), 1, version=version, use_pam=False, options={})

    assert "PerSourcePenalties no" in written((9, 8))
    assert "PerSourcePenalties" not in written((9, 7))


def test_an_added_host_wins_over_the_general_options(fleet: SshdFleet) -> None:
    fleet.add_host("closed", options={"Port": "1"})
    fleet.add_host("far", options={"ProxyJump": "node001"})
    assert "Connection refused" in ssh(fleet, "closed", "true").stderr
    assert ssh(fleet, "far", "echo hello").stdout == "hello\n"
    assert "closed" not in fleet.hosts


def test_an_added_host_can_be_changed(fleet: SshdFleet) -> None:
    fleet.add_host("changing", options={"PubkeyAuthentication": "no"})
    assert "Permission denied" in ssh(fleet, "changing", "true").stderr
    fleet.add_host("changing", options={})
    assert ssh(fleet, "changing", "true").returncode == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a b", {}),
        (1, {}),
        ("a", {"Port 1\nHost": "*"}),
        ("a", {"Port": "1\nHost *"}),
        ("a", {"Port": None}),
        ("a", 1),
    ],
)
def test_impossible_added_hosts_are_refused(fleet: SshdFleet, name: Any, options: Any) -> None:
    with pytest.raises(InvalidSetting):
        fleet.add_host(name, options=options)
