from __future__ import annotations

import pickle

import pytest

from sshfan_async.capture import Capture, Spilled, Store


def read(capture: Capture) -> bytes:
    value = capture.value()
    return value.read() if isinstance(value, Spilled) else value


@pytest.fixture(params=[1 << 20, 5, 0], ids=["memory", "half", "file"])
def store(request: pytest.FixtureRequest) -> Store:
    """A store that keeps all in memory, the first bytes only, or nothing."""
    store = Store(request.param)
    request.addfinalizer(store.close)
    return store


def test_pieces_join_in_order(store: Store) -> None:
    capture = store.capture(None)
    for piece in (b"abc", b"", b"def", b"ghi"):
        capture.write(piece)
    assert (read(capture), capture.dropped) == (b"abcdefghi", 0)


def test_two_captures_do_not_mix(store: Store) -> None:
    left, right = store.capture(None), store.capture(None)
    for number in range(20):
        left.write(b"l%d " % number)
        right.write(b"r%d " % number)
    assert read(left) == b"".join(b"l%d " % number for number in range(20))
    assert read(right) == b"".join(b"r%d " % number for number in range(20))


def test_what_is_beyond_the_limit_is_counted(store: Store) -> None:
    capture = store.capture(4)
    for piece in (b"abc", b"defg", b"hi"):
        capture.write(piece)
    assert (read(capture), capture.dropped) == (b"abcd", 5)


def test_limit_of_nothing_keeps_nothing(store: Store) -> None:
    capture = store.capture(0)
    capture.write(b"abc")
    assert (read(capture), capture.dropped) == (b"", 3)


def test_cleared_output_is_gone(store: Store) -> None:
    capture = store.capture(2)
    capture.write(b"abc")
    capture.clear()
    assert (read(capture), capture.dropped) == (b"", 0)


def test_kept_output_outlives_its_store_and_pickles_as_bytes() -> None:
    store = Store(3)
    capture = store.capture(None)
    for piece in (b"abc", b"defg"):
        capture.write(piece)
    value = capture.value()
    store.close()
    del store, capture
    assert isinstance(value, Spilled)
    assert value.open().read() == b"abcdefg"
    assert pickle.loads(pickle.dumps(value)) == b"abcdefg"
