from __future__ import annotations

import pytest

from sshfan_async.sshlog.log import SshLog
from tests.support.ssh_logs import LOGVERBOSE, TAGS, end, tagged


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_tags_of_every_version_are_understood(tag: str) -> None:
    state = SshLog(LOGVERBOSE, 77)
    state.feed(tagged(tag), 1.0)
    assert state.end(5).exit_code == 5
    assert state.stamps.accepted == 1.0


def test_a_cut_tag_is_understood() -> None:
    path = "/" + "d: " * 60
    log = b""
    for line in tagged("{0} (bin=" + path + ", pid=77): ").splitlines(keepends=True):
        start = line.find(b": ") + 2 if line.startswith(b"debug") else 0
        tag = line[start : line.index(b", pid=77)") + len(b", pid=77)")]
        log += line[:start] + tag[:127] + line[start + len(tag) :]
    assert end(log, 5, style=LOGVERBOSE, pid=77).exit_code == 5
