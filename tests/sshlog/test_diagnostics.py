from __future__ import annotations

import pytest

from sshfan_async.outcome import Phase, Status
from sshfan_async.sshlog.diagnostics import strip_diagnostics
from sshfan_async.sshlog.verdict import Verdict

LOST = Verdict(status=Status.LOST, sent=True, phase=Phase.RUN)


@pytest.mark.parametrize(
    "said",
    [
        b"Connection to 192.0.2.1 closed by remote host.\r\n",
        b"Read from remote host 192.0.2.1: Connection reset by peer\r\n",
        b"Shared connection to h closed.\r\n",
        b"client_loop: send disconnect: Broken pipe\r\nConnection to 192.0.2.1 closed by remote host.\r\n",
    ],
)
def test_what_ssh_appended_is_taken_off_a_lost_commands_stderr(said: bytes) -> None:
    assert strip_diagnostics(b"part\n" + said, LOST) == b"part\n"
    assert strip_diagnostics(b"no line end" + said, LOST) == b"no line end"
    assert strip_diagnostics(b"part\n" + said, LOST._replace(status=Status.FAILED)) == b"part\n" + said


def test_a_commands_own_words_stay() -> None:
    for own in (b"Connection to h closed by remote host.\n", b"Connection to h closed.\r\nmore\n", b"", b"\r\n"):
        assert strip_diagnostics(own, LOST) == own
