from __future__ import annotations

import asyncio
import bz2
import errno
import gzip
import io
import os
import tempfile
import weakref
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from sshfan_async import Fleet, Status, fan_out
from sshfan_async.stdio.source import _File, open_source
from sshfan_async.stdio.spool import Spool, open_spool
from sshfan_async.stdio.stdin import check_input
from tests.support.processes import descriptors, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sshfan_async import Ssh
    from sshfan_async.testing import SshdFleet


async def content(value: Any) -> bytes:
    """Return the input that a host would get from `value`, read as a child does."""
    source = await open_source(check_input(value))  # type: ignore[arg-type]
    try:
        data = b""
        while piece := source.read_at(len(data), 7):
            data += piece
        assert len(data) == source.size
        return data
    finally:
        source.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789" * 3)
    return path


@pytest.mark.parametrize("value", [b"a\0b", bytearray(b"a\0b"), memoryview(b"a\0b"), "a\0b", io.BytesIO(b"a\0b")])
async def test_bytes_and_text_are_sent_as_they_are(value: Any) -> None:
    assert await content(value) == b"a\0b"


async def test_text_is_utf_8_and_surrogate_escapes_are_bytes() -> None:
    assert await content("ä\udcff") == b"\xc3\xa4\xff"


async def test_bytearray_changed_afterwards_does_not_change_what_hosts_get() -> None:
    data = bytearray(b"before")
    source = await open_source(data)
    data[:] = b"later!"
    assert bytes(source.read_at(0, 10)) == b"before"


async def test_file_is_read_from_its_position_and_keeps_it(path: Path) -> None:
    with path.open("rb") as file:
        file.read(4)
        assert await content(file) == b"456789" + b"0123456789" * 2
        assert file.tell() == 4
        assert file.read(2) == b"45"


async def test_unbuffered_file_is_read_from_its_position(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        file.read(28)
        assert await content(file) == b"89"


async def test_file_closed_by_the_caller_is_still_readable(path: Path) -> None:
    with path.open("rb") as file:
        source = await open_source(file)
    assert bytes(source.read_at(0, 3)) == b"012"
    source.close()


async def test_temporary_file_is_read_from_its_position() -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"abc")
        file.seek(1)
        assert await content(file) == b"bc"


async def test_pipe_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe")
    os.close(writer)
    with open(reader, "rb") as file:
        assert await content(file) == b"through a pipe"


async def test_what_a_buffered_pipe_has_read_ahead_is_not_lost() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"head\nbody\n")
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.readline() == b"head\n"
        assert await content(file) == b"body\n"


@pytest.mark.parametrize("module", [gzip, bz2])
async def test_compressed_file_is_sent_as_it_reads(tmp_path: Path, module: Any) -> None:
    with module.open(tmp_path / "packed", "wb") as file:
        file.write(b"unpacked")
    with module.open(tmp_path / "packed", "rb") as file:
        assert await content(file) == b"unpacked"


async def test_file_without_a_size_is_read_to_its_end() -> None:
    with open("/proc/self/status", "rb") as file:
        assert (await content(file)).startswith(b"Name:")


async def test_device_that_is_empty_is_empty() -> None:
    with open(os.devnull, "rb") as file:
        assert await content(file) == b""


async def test_object_that_only_reads_is_copied() -> None:
    class Stream:
        def __init__(self) -> None:
            self.left = [b"a", b"b"]

        def read(self, count: int = -1) -> bytes:
            return self.left.pop(0) if self.left else b""

    assert await content(Stream()) == b"ab"


async def test_source_leaves_no_descriptor(path: Path) -> None:
    before = descriptors()
    with path.open("rb") as file:
        await content(file)
    reader, writer = os.pipe()
    os.close(writer)
    with open(reader, "rb") as pipe:
        await content(pipe)
    assert descriptors() == before


async def test_temporary_file_is_closed_while_the_error_of_its_stream_is_held() -> None:
    class Broken:
        def read(self, count: int = -1) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = descriptors()
    with pytest.raises(OSError, match="Input/output error") as held:
        await content(Broken())
    assert held.value.__traceback__ is not None
    assert descriptors() == before


# to real hosts


async def test_no_stdin_is_an_empty_one(fleet: SshdFleet) -> None:
    report = await fan_out("node001", "wc -c", ssh=fleet.ssh)
    assert report["node001"].stdout.strip() == b"0"


@pytest.mark.parametrize("value", [b"bytes\n", "text\n", io.BytesIO(b"file\n")])
async def test_every_host_gets_all_of_it(fleet: SshdFleet, value: Any) -> None:
    expected = await content(value)
    report = await fan_out(fleet.hosts[:3], "cat", stdin=value, ssh=fleet.ssh)
    assert [outcome.stdout for outcome in report] == [expected] * 3


async def test_empty_stdin_ends_at_once(fleet: SshdFleet) -> None:
    report = await fan_out("node001", "wc -c", stdin=b"", ssh=fleet.ssh)
    assert report["node001"].stdout.strip() == b"0"


async def test_large_input_to_a_host_that_does_not_read_ends_normally(fleet: SshdFleet) -> None:
    report = await fan_out("node001", "exit 3", stdin=bytes(8_000_000), ssh=fleet.ssh)
    assert (report["node001"].status, report["node001"].exit_code) == ("failed", 3)


async def test_large_file_reaches_five_hosts_and_is_not_loaded(fleet: SshdFleet, tmp_path: Path) -> None:
    size = 20_000_000
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1_000_000) * 20)
    peak = _high_water()
    with path.open("rb") as file:
        report = await fan_out(fleet.hosts[:5], "wc -c", stdin=file, ssh=fleet.ssh)
    assert [int(outcome.stdout) for outcome in report] == [size] * 5
    assert _high_water() - peak < size


def _high_water() -> int:
    """Return the peak of resident memory in bytes since the last call (proc_pid_status(5), VmHWM)."""
    with open("/proc/self/status", encoding="ascii") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    with open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
        clear.write("5")
    return peak * 1024


async def test_pipe_that_never_ends_does_not_outlast_the_deadline() -> None:
    reader, writer = os.pipe()
    try:
        with open(reader, "rb", buffering=0) as file:
            report = await fan_out("web1", "cat", stdin=file, deadline=0.2)
        assert (report["web1"].status, report["web1"].clock) == ("not_run", "deadline")
    finally:
        os.close(writer)


async def test_thread_that_copies_a_pipe_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noted(Spool):
        __slots__ = ("__weakref__",)

    opened: list[weakref.ref[Spool]] = []

    def noted() -> Spool:
        unnoted = open_spool()
        spool = Noted(os.dup(unnoted._descriptor))
        opened.append(weakref.ref(spool))
        return spool

    monkeypatch.setattr("sshfan_async.stdio.source.open_spool", noted)
    reader, writer = os.pipe()
    try:
        with open(reader, "rb") as file:
            opening = asyncio.create_task(open_source(file))
            await until(lambda: opened, "the temporary file is open")
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await until(lambda: opened[0]() is None, "the temporary file is closed")
    finally:
        os.close(writer)


@pytest.fixture
def half_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[BinaryIO]:
    """A file on a disk that fails behind the first 100,000 bytes."""
    read_at = _File.read_at

    def failing(self: _File, offset: int, count: int) -> bytes:
        if offset >= 100_000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_at(self, offset, min(count, 100_000 - offset))

    monkeypatch.setattr(_File, "read_at", failing)
    (tmp_path / "data").write_bytes(bytes(1_000_000))
    with (tmp_path / "data").open("rb") as file:
        yield file


@pytest.mark.parametrize("on_stop", ["leave", "kill"])
async def test_file_that_cannot_be_read_to_its_end_is_a_failure_here(
    fleet: SshdFleet, half_readable: BinaryIO, on_stop: Any
) -> None:
    report = await fan_out("node001", "wc -c", stdin=half_readable, on_stop=on_stop, timeout=20, ssh=fleet.ssh)
    outcome = report["node001"]
    assert (outcome.status, outcome.sent, outcome.exit_code) == (Status.LOCAL, True, 0)
    assert outcome.reason == "its standard input cannot be read to its end: Input/output error"
    assert int(outcome.stdout) == 100_000


async def test_over_a_fleet_too(fleet: SshdFleet, half_readable: BinaryIO) -> None:
    async with Fleet("node001", ssh=fleet.ssh) as warm:
        outcome = (await warm.run("wc -c", stdin=half_readable, on_stop="leave", timeout=20))["node001"]
    assert (outcome.status, outcome.sent, outcome.exit_code) == (Status.LOCAL, True, 0)
    assert outcome.reason == "its standard input cannot be read to its end: Input/output error"
    assert int(outcome.stdout) == 100_000


async def test_early_end_of_the_input_ends_a_command_with_always(fleet: SshdFleet, half_readable: BinaryIO) -> None:
    async with Fleet("node001", ssh=fleet.ssh) as warm:
        command = "trap '' TERM; wc -c; sleep 60"  # the end of the session's input is the kill request
        run = warm.run(command, stdin=half_readable, on_stop="always", timeout=30, kill_after=0.5)
        outcome = (await run)["node001"]
    assert (outcome.status, outcome.sent) == (Status.LOCAL, True)
    said = "its standard input cannot be read to its end: Input/output error"
    assert outcome.reason == f"{said}; the remote command was killed by signal KILL"


async def test_file_that_shrinks_while_it_is_sent_ends_where_it_ends_now(
    stand_in: Callable[..., Ssh], tmp_path: Path
) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(1_000_000))
    ssh = stand_in(f"touch {tmp_path}/started; until [ -e {tmp_path}/go ]; do sleep 0.01; done; wc -c")
    with path.open("rb") as file:
        running = asyncio.create_task(fan_out("web1", "true", stdin=file, timeout=5, ssh=ssh))
        await until((tmp_path / "started").exists)
        os.truncate(path, 10)
        (tmp_path / "go").touch()
        outcome = (await running)["web1"]
    assert outcome.ok, outcome
    assert int(outcome.stdout) < 1_000_000
