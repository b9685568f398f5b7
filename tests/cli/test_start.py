"""What the program loads and starts for a plain run: each module and child costs its user time at every start."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli_program import LIMIT, environment

if TYPE_CHECKING:
    from sshfan_async.testing import SshdFleet

PROBE = """
import sys
before = set(sys.modules)
from sshfan_async.cli.execution.own_process import keep_garbage
from sshfan_async.cli.main import main
keep_garbage()
children, at_first_event = [], []

def listen(event, arguments):
    if event == "subprocess.Popen":
        children.append([str(each) for each in arguments[1]])
    elif event in ("os.fork", "os.forkpty", "os.posix_spawn", "os.system"):
        children.append([event])

sys.addaudithook(listen)
import sshfan_async.cli.execution.execute
from sshfan_async.cli.execution.run_thread import RunThread
emit = RunThread._emit

def noting(self, event):
    if not at_first_event:
        import gc
        at_first_event.extend([sorted(set(sys.modules) - before), gc.isenabled()])
    emit(self, event)

RunThread._emit = noting
code = main(sys.argv[1:])
loaded, collecting = at_first_event
found = {"code": code, "children": children, "first": loaded, "collecting": collecting,
         "end": sorted(set(sys.modules) - before)}
print(found)
"""


def probe(*arguments: str) -> dict[str, Any]:
    """Run the program on `arguments` into pipes; return what it loaded and started."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = ast.literal_eval(done.stdout.decode())
    return found


@pytest.fixture(scope="module")
def plain(fleet: SshdFleet) -> dict[str, Any]:
    return probe("--ssh-config", str(fleet.ssh_config), "-w", "node001", "true")


def test_a_plain_run_starts_ssh_and_asks_its_version_once(plain: dict[str, Any], fleet: SshdFleet) -> None:
    version, command = plain["children"]
    assert version[1:] == ["-V"]
    assert str(fleet.ssh_config) in command
    assert plain["code"] == 0


def test_a_plain_run_loads_nothing_that_it_does_not_use(plain: dict[str, Any]) -> None:
    unused = {
        "ClusterShell",
        "anyio._backends._asyncio",
        "email",
        "hashlib",
        "http",
        "importlib.metadata",
        "multiprocessing",
        "pathlib",
        "rich",
        "secrets",
        "structlog",
        "urllib.parse",
    }
    assert unused & set(plain["end"]) == set()


def test_the_first_ssh_waits_for_no_module_that_shows_results(plain: dict[str, Any]) -> None:
    later = {
        "json",
        "sshfan_async.cli.conclusion",
        "sshfan_async.cli.display.display",
        "sshfan_async.cli.display.summary",
        "sshfan_async.report",
    }
    assert later & set(plain["first"]) == set()
    assert later < set(plain["end"])


def test_the_collector_is_on_when_hosts_start(plain: dict[str, Any]) -> None:
    assert plain["collecting"]


END = "from sshfan_async.cli.execution.own_process import end; import sys; sys.stdout.write('last words'); end(3)"


def test_buffered_output_is_written_at_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", END], check=False, capture_output=True, timeout=LIMIT, env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, b"last words", b"")


def test_buffered_output_that_cannot_be_written_at_the_end_is_told() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", END],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            env=environment(PYTHONUNBUFFERED=""),
        )
    assert done.returncode == 120
    assert b"No space left on device" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_output_does_not_disturb_the_end(closed: str) -> None:
    script = END.replace("sys.stdout.write('last words'); ", "")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", script],
        check=False,
        timeout=LIMIT,
        env=environment(),
    )
    assert done.returncode == 3
