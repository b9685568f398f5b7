from __future__ import annotations

import errno
import os
import pickle
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async.stdio.capture import Capture, Store
from sshfan_async.stdio.spilled import Spilled
from sshfan_async.stdio.spool import Spool
from tests.support.full_disk import full_at_100_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


def read(capture: Capture) -> bytes:
    value = capture.value()
    return value.read() if isinstance(value, Spilled) else value


@pytest.fixture(params=[1 << 20, 5, 0], ids=["memory", "half", "file"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store that keeps all bytes, the first 5 bytes, or none in memory."""
    store = Store(request.param)
    yield store
    store.close()


def test_pieces_join_in_order(store: Store) -> None:
    capture = store.capture(None)
    for piece in (b"abc", b"", b"def", b"ghi"):
        capture.write(piece)
    assert (read(capture), capture.dropped) == (b"abcdefghi", 0)


def test_output_that_comes_in_many_small_pieces_costs_little_more_than_its_size(store: Store) -> None:
    capture = store.capture(None)
    for number in range(100_000):
        capture.write(b"%d\n" % (number % 10))
    assert len(capture._chunks or ()) + len(capture._queue or ()) <= 200_000 / 2048
    assert read(capture) == 10_000 * b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"


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


# any order of writes, of any number of captures, with any limit


@given(
    memory=st.integers(0, 60),
    limits=st.lists(st.none() | st.integers(0, 60), min_size=1, max_size=3),
    writes=st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=30), st.booleans()), max_size=20),
    cut=st.integers(0, 200),
)
def test_what_is_kept_reads_back_the_same(
    memory: int, limits: list[int | None], writes: list[tuple[int, bytes, bool]], cut: int
) -> None:
    store = Store(memory)
    captures = [store.capture(limit) for limit in limits]
    written = [b""] * len(limits)
    read_end, write_end = os.pipe()
    for number, data, by_move in writes:
        number %= len(limits)
        written[number] += data
        capture = captures[number]
        if by_move and data and capture.spilling:
            os.write(write_end, data)
            capture.move(read_end, len(data))
            capture.drain()
            if capture.kept < len(written[number]) - capture.dropped:  # what is beyond the limit is still in the pipe
                capture.write(os.read(read_end, 100))
        else:
            capture.write(data)
    store.close()
    os.close(read_end)
    os.close(write_end)
    for limit, capture, data in zip(limits, captures, written, strict=True):
        kept = data if limit is None else data[:limit]
        value = capture.value()
        assert (capture.kept, capture.dropped) == (len(kept), len(data) - len(kept))
        assert value == kept
        if isinstance(value, Spilled):
            assert hash(value) == hash(kept)
            assert value.read() == value.open().read() == b"".join(value.open()) == kept
            assert value.tail(cut) == (kept[-cut:] if cut else b"")
            assert value.without_last(cut) == kept[: max(0, len(kept) - cut)]
            assert pickle.loads(pickle.dumps(value)) == kept
            assert value.size == len(kept)


def test_large_output_in_memory_is_not_joined_until_it_is_read() -> None:
    store = Store(1 << 30)
    capture = store.capture(None)
    pieces = [bytes([number]) * 100_000 for number in range(20)]
    for piece in pieces:
        capture.write(piece)
    value = capture.value()
    assert isinstance(value, Spilled)
    assert value == b"".join(pieces)
    assert value.tail(150_000) == b"".join(pieces)[-150_000:]
    assert value.without_last(150_000) == b"".join(pieces)[:-150_000]


# a disk that is full


@full_at_100_bytes()
def test_output_that_cannot_be_written_is_counted_and_told() -> None:
    store = Store(10)
    capture, other = store.capture(None), store.capture(None)
    for data in (b"a" * 10, b"b" * 60, b"c" * 60, b"d" * 60):
        capture.write(data)
    assert capture.value() == b"a" * 10 + b"b" * 60
    assert (capture.kept, capture.dropped) == (70, 120)
    assert capture.failure is not None
    assert capture.failure.errno == errno.EFBIG
    other.write(b"")
    assert other.failure is None
    store.close()


@full_at_100_bytes()
def test_output_that_cannot_be_moved_is_read_all_the_same() -> None:
    store = Store(0)
    capture = store.capture(None)
    capture.write(b"a" * 60)
    read_end, write_end = os.pipe()
    os.write(write_end, b"b" * 60 + b"c")
    capture.move(read_end, 60)
    assert capture.value() == b"a" * 60
    assert (capture.dropped, capture.spilling) == (60, False)
    assert os.read(read_end, 10) == b"c"
    os.close(read_end)
    os.close(write_end)
    store.close()


def test_temporary_file_that_cannot_be_made_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    store = Store(3)
    capture = store.capture(None)
    for data in (b"abc", b"def"):
        capture.write(data)
    assert (capture.value(), capture.dropped) == (b"abc", 3)
    assert isinstance(capture.failure, FileNotFoundError)
    store.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The disk writes nothing before this event is set."""
    go = threading.Event()
    write = Spool.write

    def slow(self: Spool, data: bytes | memoryview, offset: int) -> None:
        assert go.wait(10)
        write(self, data, offset)

    monkeypatch.setattr(Spool, "write", slow)
    yield go
    go.set()


def test_output_that_comes_while_the_disk_is_busy_is_queued_in_order(disk: threading.Event) -> None:
    store = Store(0)
    capture = store.capture(None)
    first = capture.write(b"abc")
    assert first is not None
    assert capture.write(b"def") is None
    disk.set()
    first.result()
    assert capture.write(b"ghi") is None
    rest = capture.flush()
    assert rest is not None
    rest.result()
    assert capture.flush() is None
    assert capture.write(b"jkl") is not None
    assert (read(capture), capture.kept) == (b"abcdefghijkl", 12)
    store.close()


def test_what_waits_when_the_disk_fails_is_counted_as_dropped(
    disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Store(0)
    capture = store.capture(None)
    first = capture.write(b"abc")
    capture.write(b"defg")
    monkeypatch.setattr(os, "pwrite", full)
    disk.set()
    assert first is not None
    with pytest.raises(OSError, match="No space left"):
        first.result()
    assert capture.flush() is None
    assert (read(capture), capture.kept, capture.dropped) == (b"", 0, 7)
    assert capture.failure is not None
    store.close()


@pytest.fixture
def no_new_thread() -> Iterator[None]:
    """No thread can be started: there is no address space for its stack."""
    before = threading.stack_size(2**47)
    yield
    threading.stack_size(before)


@pytest.mark.usefixtures("no_new_thread")
def test_nothing_is_lost_if_no_writer_thread_can_be_started() -> None:
    read_end, write_end = os.pipe()
    store = Store(4)
    capture = store.capture(None)
    assert capture.write(b"ab") is None
    for piece in (b"cdefg", b"hi"):
        written = capture.write(piece)
        assert written is not None
        assert written.done()
    os.write(write_end, b"jklm")
    assert capture.move(read_end, 4) is not None
    os.close(write_end)
    os.close(read_end)
    store.close()
    assert (read(capture), capture.kept, capture.dropped, capture.failure) == (b"abcdefghijklm", 13, 0, None)


@pytest.mark.usefixtures("no_new_thread")
def test_full_disk_is_told_if_no_writer_thread_can_be_started() -> None:
    with full_at_100_bytes():
        store = Store(0)
        capture = store.capture(None)
        capture.write(bytes(200))
        capture.drain()
    assert (capture.kept, capture.dropped) == (0, 200)
    assert capture.failure is not None
    store.close()
