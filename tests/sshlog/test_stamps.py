from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async.outcome import Phase, Phases
from sshfan_async.sshlog.lines import LogStyle
from sshfan_async.sshlog.log import SshLog
from sshfan_async.sshlog.stamps import Stamps, phases
from tests.support.corpus import every_row
from tests.support.ssh_logs import AUTHENTICATED, DEBUG1, DIALLED, EXIT_STATUS, KEYED, SENT, crlf


@every_row
def test_corpus_row_phases_add_up(row: dict[str, Any]) -> None:
    state, now = SshLog(LogStyle(row["style"]), real=True), 100.0
    for line in row["log"].splitlines(keepends=True):
        now += 0.125
        state.feed(line, now)
    ending, split = state.end(row["returncode"], row["stderr"]), phases(state.stamps, 100.0, now + 1.0, 0.5)
    assert split.elapsed == pytest.approx(now + 1.0 - 100.0, abs=1e-6)
    assert split.queued == 0.5
    assert getattr(split, ending.phase.value) is not None
    if row["ending"] == "exit" and not row["case"].startswith("control-"):
        assert [phase for phase, _ in split][1:] == list(Phase)[1:]


def test_a_phase_without_a_stamp_gives_its_time_to_the_next() -> None:
    split = phases(Stamps(connecting=1.0, keyed=4.0, sent=5.0, remote_end=7.0), 0.0, 8.0, 0.0)
    assert split == Phases(queued=0.0, resolve=1.0, handshake=3.0, auth=1.0, run=2.0, close=1.0)


def test_the_last_phase_gets_the_remaining_time() -> None:
    assert phases(Stamps(connecting=1.0), 0.0, 8.0, 2.0) == Phases(queued=2.0, resolve=1.0, connect=7.0)
    assert phases(Stamps(), 0.0, 8.0, 0.0) == Phases(queued=0.0, resolve=8.0)


def test_without_a_log_all_is_run() -> None:
    assert phases(SshLog(DEBUG1).stamps, 0.0, 8.0, 0.0) == Phases(queued=0.0, run=8.0)


@given(
    st.lists(st.none() | st.floats(-1e6, 1e6), min_size=7, max_size=7),
    st.booleans(),
    st.floats(0, 1e6),
    st.floats(0, 1e5),
)
def test_phases_add_up_and_are_never_negative(
    stamps: list[float | None], silent: bool, launched: float, seconds: float
) -> None:
    split = phases(
        Stamps(**dict(zip(Stamps._fields, stamps, strict=False)), silent=silent), launched, launched + seconds, 0.0
    )
    assert split.elapsed == pytest.approx(launched + seconds - launched, abs=1e-6)
    assert all(seconds >= 0 for _, seconds in split)


@pytest.mark.parametrize(
    ("log", "phase"),
    [
        (b"debug1: x\r\n", Phase.RESOLVE),
        (DIALLED[:46], Phase.CONNECT),
        (DIALLED, Phase.HANDSHAKE),
        (KEYED, Phase.AUTH),
        (AUTHENTICATED, Phase.AUTH),
        (SENT, Phase.RUN),
        (SENT + crlf(EXIT_STATUS), Phase.CLOSE),
    ],
)
def test_the_phase_follows_the_log(log: bytes, phase: Phase) -> None:
    state = SshLog(DEBUG1)
    state.feed(log, 1.0)
    assert state.phase() is phase
