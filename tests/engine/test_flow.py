from __future__ import annotations

import math
import time

from sshfan_async.engine.flow import Flow


class Member:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.paused_since: float | None = None

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self, paused_since: float) -> None:
        self.told.append("resume")
        self.paused_since = paused_since


def test_all_members_are_paused_and_resumed_once() -> None:
    flow = Flow(deadline=math.inf, followed=True)
    members = [Member(), Member()]
    for member in members:
        flow.add(member)
    flow.pause()
    flow.pause()
    flow.resume()
    flow.resume()
    assert [member.told for member in members] == [["pause", "resume"]] * 2


def test_member_added_while_all_are_paused_is_paused() -> None:
    flow = Flow(deadline=math.inf, followed=True)
    flow.pause()
    member = Member()
    flow.add(member)
    flow.resume()
    assert member.told == ["pause", "resume"]


def test_removed_member_is_left_alone() -> None:
    flow = Flow(deadline=math.inf, followed=True)
    member = Member()
    flow.add(member)
    flow.pause()
    flow.remove(member)
    flow.resume()
    flow.remove(member)
    assert member.told == ["pause"]


def test_deadline_moves_by_the_time_of_the_pause() -> None:
    began = time.monotonic()
    flow = Flow(deadline=began + 10, followed=True)
    member = Member()
    flow.add(member)
    flow.pause()
    paused_since = flow.paused_since
    while time.monotonic() == paused_since:
        pass
    flow.resume()
    assert paused_since is not None
    assert member.paused_since == paused_since
    assert began + 10 < flow.deadline <= began + 10 + time.monotonic() - paused_since
    assert flow.paused_since is None
