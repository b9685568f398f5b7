from __future__ import annotations

import pytest

from sshfan_async.sshlog.server import MasterLog
from tests.support.ssh_logs import AUTHENTICATED, CHAIN, DEBUG1, DIALLED, crlf

SENT_KEYS = ("debug1: SSH2_MSG_NEWKEYS sent", "debug1: SSH2_MSG_NEWKEYS received")


def log(software: str, user: str = "ops") -> bytes:
    return DIALLED + crlf(
        f"debug1: Remote protocol version 2.0, remote software version {software}",
        f"debug1: Authenticating to h:22 as '{user}'",
        *SENT_KEYS,
        CHAIN[1],
    )


def takes_signals(data: bytes) -> bool:
    state = MasterLog(DEBUG1, real=True)
    state.feed(data, 1.0)
    return state.takes_signals()


@pytest.mark.parametrize(
    ("software", "user", "takes"),
    [
        ("OpenSSH_7.8", "ops", False),
        ("OpenSSH_7.9p1 Debian-10+deb10u2", "ops", True),
        ("OpenSSH_10.0", "ops", True),
        ("OpenSSH_9.7", "root", False),
        ("OpenSSH_9.8p1", "root", True),
        ("OpenSSH_10.0", "root", True),
        ("OpenSSH_9.7", "rooty", True),
        ("dropbear_2022.83", "ops", False),
    ],
)
def test_sshd_signals_a_session_from_7_9_on_and_for_root_from_9_8_on(software: str, user: str, takes: bool) -> None:
    assert takes_signals(log(software, user)) is takes


def test_log_without_the_servers_software_takes_no_signals() -> None:
    assert not takes_signals(b"")
    assert not takes_signals(AUTHENTICATED[: AUTHENTICATED.index(b"debug1: Remote")])


def test_log_that_is_cut_anywhere_says_the_same() -> None:
    state = MasterLog(DEBUG1, real=True)
    whole = log("OpenSSH_9.7", "root")
    for at in range(len(whole)):
        state.feed(whole[at : at + 1], 1.0)
    assert not state.takes_signals()


def test_what_is_logged_after_the_authentication_does_not_count() -> None:
    later = crlf("debug1: Remote protocol version 2.0, remote software version OpenSSH_9.9")
    state = MasterLog(DEBUG1, real=True)
    state.feed(log("dropbear_2022.83"), 1.0)
    state.feed(later, 2.0)
    assert not state.takes_signals()
