"""Output of any size: none of it is lost, and it takes bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from sshfan_async.testing import SshdFleet

MEGABYTE = 1_000_000


def in_a_process_of_its_own(fleet: SshdFleet, hosts: int, command: str, *, before: str = "", **settings: Any) -> Any:
    """Run `command`; return each outcome's facts, and the peak memory (bytes) before and after its output is read."""
    script = f"""
    import asyncio, hashlib, json, re, resource
    from sshfan_async import Ssh, fan_out

    def peak():
        # Not ru_maxrss, which remembers the process that it was forked from.
        return 1024 * int(re.search("VmHWM: *([0-9]+) kB", open("/proc/self/status").read().replace(chr(9), " "))[1])

    {before}
    ssh = Ssh(config_file={str(fleet.ssh_config)!r})
    report = asyncio.run(fan_out({fleet.hosts[:hosts]!r}, {command!r}, ssh=ssh, **{settings!r}))
    before_reading = peak()
    facts = []
    for each in report:
        digest, size = hashlib.sha256(), 0
        with each.open_stdout() as stream:
            while piece := stream.read(65536):
                digest.update(piece)
                size += len(piece)
        facts.append([each.status, each.reason, size, each.stdout_dropped, digest.hexdigest()])
    print(json.dumps([facts, before_reading, peak()]))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def digest_of(command: str) -> str:
    return (
        subprocess.run(f"{command} | sha256sum", shell=True, check=True, stdout=subprocess.PIPE).stdout[:64].decode()
    )


@pytest.mark.parametrize("megabytes", [8, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
@pytest.mark.parametrize("hosts", [20])
def test_every_byte_is_kept_in_bounded_memory(fleet: SshdFleet, hosts: int, megabytes: int) -> None:
    command = f"seq 100000000 | head -c {megabytes * MEGABYTE}"
    outcomes, peak, peak_after_reading = in_a_process_of_its_own(fleet, hosts, command)
    assert outcomes == [["ok", "", megabytes * MEGABYTE, 0, digest_of(command)]] * hosts
    assert peak < 120 * MEGABYTE
    assert peak_after_reading < 120 * MEGABYTE


def test_one_host_alone_does_not_take_its_output_twice(fleet: SshdFleet) -> None:
    command = f"seq 100000000 | head -c {60 * MEGABYTE}"
    outcomes, _, peak_after_reading = in_a_process_of_its_own(fleet, 1, command)
    assert outcomes == [["ok", "", 60 * MEGABYTE, 0, digest_of(command)]]
    assert peak_after_reading < 120 * MEGABYTE


def test_dropped_output_takes_no_memory(fleet: SshdFleet) -> None:
    command = f"head -c {60 * MEGABYTE} /dev/zero; head -c {20 * MEGABYTE} /dev/zero >&2"
    outcomes, peak, _ = in_a_process_of_its_own(fleet, 2, command, max_output=1000)
    assert [(status, size, dropped) for status, _, size, dropped, _ in outcomes] == [("ok", 1000, 59_999_000)] * 2
    assert peak < 60 * MEGABYTE


def test_full_disk_is_one_outcomes_failure(fleet: SshdFleet, tmp_path: Path) -> None:
    # The first host to come writes more than the memory limit.
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({MEGABYTE}, {MEGABYTE}))"
    command = f"if mkdir {tmp_path}/full; then head -c {70 * MEGABYTE} /dev/zero; exit 3; else echo a; fi"
    outcomes, _, _ = in_a_process_of_its_own(fleet, 3, command, before=limit)
    outcomes.sort(key=lambda outcome: outcome[2])
    assert [(status, size + dropped) for status, _, size, dropped, _ in outcomes] == [
        ("ok", 2), ("ok", 2), ("local", 70 * MEGABYTE)
    ]  # fmt: skip
    assert outcomes[2][1] == "its output cannot be kept: File too large; the command exited with 3"


def test_output_on_both_streams_beyond_the_memory(fleet: SshdFleet) -> None:
    command = f"seq 100000000 | head -c {50 * MEGABYTE} | tee /dev/stderr"
    outcomes, peak, _ = in_a_process_of_its_own(fleet, 1, command)
    assert outcomes[0][2:] == [50 * MEGABYTE, 0, digest_of(command.partition(" | tee")[0])]
    assert peak < 120 * MEGABYTE
