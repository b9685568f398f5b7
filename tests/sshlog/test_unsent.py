from __future__ import annotations

import pytest

from sshfan_async.outcome import Status
from sshfan_async.sshlog.lines import LogStyle
from tests.support.corpus import ROWS
from tests.support.ssh_logs import DIALLED, KEYED, crlf, end


@pytest.mark.parametrize("case", ["max-startups", "max-startups-stub", "not-allowed-stub", "lost-during-auth",
                                  "closed-before-banner", "reset-before-banner", "closed-after-banner",
                                  "stall-after-banner", "lost-before-send"])  # fmt: skip
def test_a_connection_dropped_in_passing_is_transient(case: str) -> None:
    for row in (param.values[0] for param in ROWS):
        if row["case"] == case:
            ending = end(row["log"], row["returncode"], row["stderr"], style=LogStyle(row["style"]))
            assert ending.transient, (row["version"], row["style"])


@pytest.mark.parametrize("case", ["kex-mismatch", "garbage-banner", "garbage-banner-http", "garbage-banner-ssh1",
                                  "garbage-banner-longline", "session-refused", "server-disconnect-spoof",
                                  "refused", "host-key-changed", "auth-denied", "proxyjump-refused", "ok",
                                  "connection-lost"])  # fmt: skip
def test_an_ending_that_stays_is_not_transient(case: str) -> None:
    for row in (param.values[0] for param in ROWS):
        if row["case"] == case:
            ending = end(row["log"], row["returncode"], row["stderr"], style=LogStyle(row["style"]))
            assert not ending.transient, (row["version"], row["style"])


def test_a_dropped_connection_quotes_what_the_host_said() -> None:
    log = DIALLED + crlf(
        "debug1: kex_exchange_identification: banner line 0: Exceeded MaxStartups",
        "Connection closed by 192.0.2.1 port 22",
    )
    assert end(log, 255).reason == "Connection closed by 192.0.2.1 port 22 (the host said: Exceeded MaxStartups)"


def test_an_ssh_killed_before_the_command_was_sent_is_local() -> None:
    assert end(KEYED, -15).status is Status.LOCAL
    assert not end(KEYED, -15).sent


JUMP = crlf("debug1: Executing proxy command: exec ssh -l u -p 22 -F f -W '[db]:22' bastion",
            "kex_exchange_identification: Connection closed by remote host")  # fmt: skip


@pytest.mark.parametrize(
    ("stderr", "status"),
    [
        (b"kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 192.0.2.9 port 22\r\n",
         Status.DROPPED),
        (b"Banner\nConnection closed by 192.0.2.9 port 22\r\n", Status.DROPPED),
        (b"Connection to 192.0.2.9 port 22 timed out\r\n", Status.DROPPED),
        (b"", Status.DROPPED),
        (b"ssh: connect to host bastion port 22: Connection refused\r\n"
         b"kex_exchange_identification: Connection closed by remote host\r\n", Status.UNREACHABLE),
        (b"Host key verification failed.\r\n", Status.UNREACHABLE),
        (b"something else\n", Status.UNREACHABLE),
    ],
)  # fmt: skip
def test_a_jump_host_that_dropped_us_can_be_tried_again(stderr: bytes, status: Status) -> None:
    ending = end(JUMP, 255, stderr)
    assert (ending.status, ending.sent, ending.transient) == (status, False, status is Status.DROPPED)
    assert "jump host bastion" in ending.reason


BEHIND = crlf("debug1: Executing proxy command: exec ssh -l u -p 22 -F f -W '[db]:22' bastion",
              "debug1: kex_exchange_identification: banner line 0: Exceeded MaxStartups",
              "kex_exchange_identification: Connection closed by remote host")  # fmt: skip


@pytest.mark.parametrize(
    ("log", "stderr", "by_peer"),
    [
        (JUMP, b"Connection closed by 192.0.2.9 port 22\r\n", True),
        (JUMP, b"", False),
        (BEHIND, b"", False),
        (crlf("debug1: Connecting to h [192.0.2.1] port 22.", "debug1: Connection established.",
              "kex_exchange_identification: read: Connection reset by peer"), b"", True),
    ],
    ids=["the jump host", "nobody says who", "the host behind it, which claims to be busy", "a server"],
)  # fmt: skip
def test_a_drop_counts_against_the_jump_host_only_if_its_own_ssh_says_so(
    log: bytes, stderr: bytes, by_peer: bool
) -> None:
    ending = end(log, 255, stderr)
    assert (ending.status, ending.transient, ending.by_peer) == (Status.DROPPED, True, by_peer)


@pytest.mark.parametrize("error", ["Too many open files", "Resource temporarily unavailable"])
def test_too_few_resources_here_are_local_and_transient(error: str) -> None:
    ending = end(
        crlf("debug1: Connecting to h [192.0.2.1] port 22.", f"ssh: connect to host h port 22: {error}"), 255
    )
    assert (ending.status, ending.transient) == (Status.LOCAL, True)
