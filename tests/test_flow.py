from __future__ import annotations

import math
import time

from sshfan_async.flow import Flow


class Member:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.held_since: float | None = None

    def hold(self) -> None:
        self.told.append("hold")

    def release(self, held_since: float) -> None:
        self.told.append("release")
        self.held_since = held_since


def test_all_members_are_held_and_released_once() -> None:
    flow = Flow(deadline=math.inf, followed=True)
    members = [Member(), Member()]
    for member in members:
        flow.join(member)
    flow.hold()
    flow.hold()
    flow.release()
    flow.release()
    assert [member.told for member in members] == [["hold", "release"]] * 2


def test_who_joins_while_all_are_held_is_held() -> None:
    flow = Flow(deadline=math.inf, followed=True)
    flow.hold()
    member = Member()
    flow.join(member)
    flow.release()
    assert member.told == ["hold", "release"]


def test_who_has_left_is_told_no_more() -> None:
    flow = Flow(deadline=math.inf, followed=True)
    member = Member()
    flow.join(member)
    flow.hold()
    flow.leave(member)
    flow.release()
    flow.leave(member)
    assert member.told == ["hold"]


def test_deadline_moves_by_the_time_that_all_were_held() -> None:
    began = time.monotonic()
    flow = Flow(deadline=began + 10, followed=True)
    member = Member()
    flow.join(member)
    flow.hold()
    held_since = flow.held_since
    while time.monotonic() == held_since:
        pass
    flow.release()
    assert held_since is not None
    assert member.held_since == held_since
    assert began + 10 < flow.deadline <= began + 10 + time.monotonic() - held_since
    assert flow.held_since is None
