from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import sshfan_async
from sshfan_async import fan_out
from tests.support.listeners import hang_up, listening

if TYPE_CHECKING:
    import pytest

    from sshfan_async.testing import SshdFleet

ROOT = os.path.dirname(os.path.dirname(sshfan_async.__file__))


def run_script(script: str) -> str:
    """Run `script` in a new interpreter, with logging unconfigured; return all that it printed."""
    environment = {**os.environ, "PYTHONPATH": ROOT}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    return ran.stdout


RUN = """
import asyncio, logging, sys
from sshfan_async import Ssh, fan_out
def go():
    asyncio.run(fan_out(["web1", "web2"], "SECRET", ssh=Ssh(program="/bin/false"), stdin=b"SECRET"))
"""


def test_silent_and_without_structlog_if_nobody_listens() -> None:
    said = run_script(f"{RUN}\ngo()\nassert 'structlog' not in sys.modules")
    assert said == ""


def test_events_of_run_and_hosts_carry_the_runs_id() -> None:
    said = run_script(
        f"{RUN}\nlogging.basicConfig(level=logging.INFO, format='%(name)s %(levelname)s %(message)s')\ngo()"
    )
    lines = said.splitlines()
    assert all(line.startswith("sshfan_async INFO event=") for line in lines)
    assert len({line.partition("run=")[2][:10] for line in lines}) == 1
    events = [line.split("'")[1] for line in lines]
    assert events[0] == "run started"
    assert events[-1] == "run finished"
    assert sorted(events[1:-1]) == ["host finished"] * 2 + ["host started"] * 2


async def test_sent_and_finished_are_told_of_a_real_host(fleet: SshdFleet, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="sshfan_async"):
        await fan_out("node001", "echo SECRET; exit 3", ssh=fleet.ssh)
    told = [record.getMessage() for record in caplog.records if "node001" in record.getMessage()]
    assert [message.split("'")[1] for message in told] == ["host started", "host sent", "host finished"]
    assert "status='failed'" in told[-1]
    assert "exit_code=3" in told[-1]


def test_warnings_only_if_only_warnings_are_wanted() -> None:
    assert run_script(f"{RUN}\nlogging.basicConfig(level=logging.WARNING)\ngo()") == ""


def test_command_and_output_are_never_told() -> None:
    said = run_script(
        f"{RUN}\nlogging.basicConfig(level=logging.DEBUG)\nlogging.getLogger('asyncio').disabled = True\ngo()"
    )
    assert "run finished" in said
    assert "SECRET" not in said


def test_configured_structlog_is_used_as_it_is() -> None:
    said = run_script(
        f"{RUN}\nimport structlog\nlogging.basicConfig(level=logging.INFO, format='%(message)s')\n"
        "structlog.configure(processors=[structlog.processors.JSONRenderer()])\ngo()"
    )
    assert '"event": "run started"' in said


async def test_retry_is_a_warning_with_its_reason(
    fleet: SshdFleet, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshfan_async.engine.pacing._BACK_OFF", 0.001)
    with listening(hang_up) as listener:
        fleet.add_host("drops", options={"Port": str(listener.port)})
        await fan_out("drops", "true", retries=1, ssh=fleet.ssh)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("event='host retried'")
    assert "host='drops' attempt=1" in warning
    assert "onnection" in warning


def test_error_of_a_processor_does_not_end_the_run_and_is_told() -> None:
    said = run_script(f"""{RUN}
import structlog
def fails(logger, method, fields):
    raise ZeroDivisionError
structlog.configure(processors=[fails])
logging.basicConfig(level=logging.INFO)
async def main():
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    report = await fan_out(["web1", "web2"], "true", ssh=Ssh(program="/bin/false"))
    print([outcome.exit_code for outcome in report], {{type(context["exception"]).__name__ for context in told}})
    print(*(context["message"] for context in told), sep="; ")
asyncio.run(main())
""")
    assert said.startswith("[1, 1] {'ZeroDivisionError'}\nsshfan_async could not log 'run started'; ")
