"""The labelled logs of real ssh clients in tests/sshlog/corpus.

A corpus row holds what one run of `ssh -E LOG` of that version wrote and returned, and what truly happened, known
from its cause: a marker that the command touched, the server's own log, the signal that was sent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sshfan_async.outcome import Status

CORPUS = Path(__file__).parent.parent / "sshlog" / "corpus"


def rows() -> list[Any]:
    found = []
    for path in sorted(CORPUS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line) | {"version": path.stem}
            row["log"], row["stderr"] = (row[key].encode("utf-8", "surrogateescape") for key in ("log", "stderr"))
            found.append(pytest.param(row, id=f"{row['version']}-{row['style']}-{row['case']}"))
    return found


ROWS = rows()
every_row = pytest.mark.parametrize("row", ROWS)


def expected(row: dict[str, Any]) -> tuple[Status, bool, int | None]:
    """Return the true status, `sent` and exit code, or the weaker claim if the logs of two endings are the same."""
    sent = row["sent"] is not False
    case, style = row["case"], row["style"]
    if case == "control-reuse-killed" or (case == "control-reuse-exit-255" and style == "debug1"):
        return Status.LOST, True, None
    if case == "silent-before-banner" and row["version"] == "8.0p1":
        return Status.UNREACHABLE, False, None
    status = {
        "exit": Status.OK if row["exit_code"] == 0 else Status.FAILED,
        "signal": Status.SIGNALLED,
        "lost": Status.LOST if sent else Status.DROPPED,
        "local-signal": Status.LOST if sent else Status.LOCAL,
        "never-connected": Status.UNRESOLVED if row["case"] == "dns-fail" else Status.UNREACHABLE,
        "handshake": Status.DROPPED,
        "session": Status.DROPPED,
        "host-key": Status.HOST_KEY,
        "auth": Status.AUTH,
        "config": Status.LOCAL,
    }[row["ending"]]
    return status, sent, row["exit_code"]
