from __future__ import annotations

import ctypes
import mmap
import os
import random
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from sshfan_async.stdio import spool as spool_module
from sshfan_async.stdio.spool import Spool, open_spool
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WINDOW = 1 << 20
CACHED = 4 * WINDOW


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    monkeypatch.setattr(spool_module, "_WINDOW", WINDOW)
    monkeypatch.setattr(spool_module, "_CACHED", CACHED)
    spool = open_spool()
    yield spool
    spool.close()


def by_write(spool: Spool, data: bytes) -> None:
    spool.write(data, spool.reserve(len(data)))


def in_pieces(spool: Spool, data: bytes) -> None:
    half = len(data) // 2
    spool.write_all([data[:half], data[half:]], spool.reserve(len(data)))


def by_pipe(spool: Spool, data: bytes) -> None:
    read_end, write_end = os.pipe()
    try:
        for start in range(0, len(data), 32 * 1024):
            count = os.write(write_end, data[start : start + 32 * 1024])
            spool.move(read_end, count, spool.reserve(count))
    finally:
        os.close(read_end)
        os.close(write_end)


def cached(spool: Spool, count: int) -> int:
    """Return how many of the first `count` bytes are in the page cache (mincore(2))."""
    with mmap.mmap(spool._descriptor, count) as mapped:
        address = ctypes.c_char.from_buffer(mapped)
        pages = (ctypes.c_ubyte * (count // mmap.PAGESIZE))()
        failed = ctypes.CDLL(None, use_errno=True).mincore(ctypes.byref(address), ctypes.c_size_t(count), pages)
        del address
        assert failed == 0, os.strerror(ctypes.get_errno())
        return sum(page & 1 for page in pages) * mmap.PAGESIZE


@pytest.mark.parametrize("put", [by_write, in_pieces, by_pipe])
async def test_what_is_far_back_is_on_the_disk_and_no_longer_cached(
    spool: Spool, put: Callable[[Spool, bytes], None]
) -> None:
    file = f"/proc/self/fd/{spool._descriptor}"
    kind = subprocess.run(
        ["stat", "-L", "-f", "-c", "%T", file], check=True, stdout=subprocess.PIPE, pass_fds=[spool._descriptor]
    ).stdout
    if kind == b"tmpfs\n":
        pytest.skip("temporary files are kept in memory here: no disk could take them")
    windows = [random.randbytes(WINDOW) for _ in range(12)]
    for window in windows:
        put(spool, window)
        await until(lambda: not spool._writing_back, "the write-back")
        os.fsync(spool._descriptor)  # the disk has had the time that it needs
    back = len(windows) * WINDOW - CACHED - WINDOW
    assert cached(spool, back) == 0
    assert cached(spool, len(windows) * WINDOW) > 0
    assert spool.read(0, len(windows) * WINDOW) == b"".join(windows)


def test_slow_disk_holds_up_no_writer(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: go.wait(10))
    for _ in range(8):
        by_write(spool, bytes(WINDOW))
    spool.close()
    assert not go.is_set()
    assert spool._written_back == 0
    go.set()


def test_little_output_needs_no_thread(spool: Spool) -> None:
    before = set(threading.enumerate())
    by_write(spool, bytes(WINDOW - 1))
    assert set(threading.enumerate()) <= before


def test_lack_of_threads_is_no_failure(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    by_write(spool, b"a" * WINDOW)
    assert spool.read(0, WINDOW) == b"a" * WINDOW


async def test_advice_that_the_file_system_refuses_is_no_failure(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    by_write(spool, b"a" * WINDOW)
    await until(lambda: not spool._writing_back, "the write-back")
    assert spool.read(0, WINDOW) == b"a" * WINDOW


def test_what_was_written_stays_readable_after_the_end(spool: Spool) -> None:
    by_write(spool, b"abc")
    spool.close()
    by_write(spool, bytes(2 * WINDOW))
    assert spool.read(0, 3) == b"abc"
    assert spool._writeback is None
