"""`run()`. First come the flaws of the polling version that it replaces, each by name."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import sshfan_async
from sshfan_async import (
    STATUS_FAIL,
    STATUS_SUCC,
    InvalidSetting,
    InvalidTarget,
    Ssh,
    Target,
    fan_out,
    nodes,
    run,
)
from tests.support.processes import children, is_running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sshfan_async.testing import SshdFleet

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(sshfan_async.__file__))}


def script(fleet: SshdFleet, text: str) -> list[str]:
    """Return the argument list of a script in which `ssh` leads to `fleet`."""
    head = f"from sshfan_async import *\nssh = Ssh(config_file={os.fspath(fleet.ssh_config)!r})\n"
    return [sys.executable, "-W", "error", "-c", head + text]


# the flaws of the polling version


def test_a_megabyte_on_each_output_comes_back_whole(fleet: SshdFleet) -> None:
    command = "head -c 1000000 /dev/zero | tr '\\0' o; head -c 1000000 /dev/zero | tr '\\0' e >&2"
    result = run(["node001", "node002"], command, ssh=fleet.ssh)["result"]
    for host in ("node001", "node002"):
        assert result[host]["out"] == "o" * 1_000_000
        assert result[host]["err"] == "e" * 1_000_000
        assert result[host]["status"] == STATUS_SUCC


def test_two_hosts_run_side_by_side_and_times_are_true(fleet: SshdFleet) -> None:
    # The hosts are this machine: they have the same clock.
    command = "date +%s.%N; sleep 3; date +%s.%N"
    before = time.time()
    report = asyncio.run(fan_out(["node001", "node002"], command, on_stop="leave", ssh=fleet.ssh))
    after = time.time()
    spans = []
    for outcome in report:
        first, last = map(float, outcome.stdout.split())
        spans.append((first, last))
        assert outcome.started_at is not None
        assert outcome.phases.run is not None
        assert before <= outcome.started_at <= first
        assert last - 0.001 < outcome.started_at + outcome.elapsed <= after + 0.001
        assert last - first - 0.001 < outcome.phases.run < outcome.elapsed
    assert max(first for first, _ in spans) < min(last for _, last in spans)


def test_delta_time_is_from_launch_to_end(fleet: SshdFleet) -> None:
    proxy = f"sh -c 'sleep 1; exec ssh -F {fleet.ssh_config} -W 127.0.0.1:{fleet.port} node001'"
    fleet.add_host("slow-way", options={"ProxyCommand": proxy})
    began = time.monotonic()
    result = run("slow-way", "sleep 1", ssh=fleet.ssh)["result"]["slow-way"]
    assert 2 <= result["delta_time"] <= time.monotonic() - began


def test_order_is_kept_and_duplicates_collapse(fleet: SshdFleet) -> None:
    answer = run(["node003", " node001 ", "node003", "node002\n", "node001"], "true", ssh=fleet.ssh)
    assert list(answer["result"]) == ["node003", "node001", "node002"]


@pytest.mark.parametrize("kind", [tuple, set, frozenset, list, dict.fromkeys, iter])
def test_any_collection_of_names_works(fleet: SshdFleet, kind: Any) -> None:
    names = kind(["node001", "node002"])
    if isinstance(names, dict):
        names = names.keys()
    assert set(run(names, "true", ssh=fleet.ssh)["result"]) == {"node001", "node002"}


def test_targets_work_beside_names(fleet: SshdFleet) -> None:
    hosts: list[str | Target] = [*nodes("node[001-002]"), " node002", Target("node003", port=fleet.port)]
    result = run(hosts, "true", ssh=fleet.ssh)["result"]
    assert {name: each["status"] for name, each in result.items()} == {
        "node001": STATUS_SUCC,
        "node002": STATUS_SUCC,
        f"node003:{fleet.port}": STATUS_SUCC,
    }


def test_one_target_works(fleet: SshdFleet) -> None:
    assert list(run(Target("node001"), "true", ssh=fleet.ssh)["result"]) == ["node001"]


def test_text_of_any_target_names_it_again() -> None:
    hosts = [Target("::1"), Target("::1", port=22), Target("fe80::1%eth0", "a@b", 22), Target("web1", "CORP\\ops")]
    result = run(hosts, "true", ssh=Ssh(program="/nowhere/ssh"))["result"]
    assert list(result) == [str(host) for host in hosts]
    assert all("/nowhere/ssh" in each["err"] for each in result.values())


def test_one_name_works(fleet: SshdFleet) -> None:
    answer = run("node001", "echo out; echo err >&2", ssh=fleet.ssh)
    assert set(answer) == {"ts", "cmd", "result"}
    assert answer["cmd"] == "echo out; echo err >&2"
    assert abs(answer["ts"] - time.time()) < 5
    result = answer["result"]["node001"]
    assert result == {"out": "out\n", "err": "err\n", "status": STATUS_SUCC, "delta_time": result["delta_time"]}
    assert result["delta_time"] > 0


def test_ssh_does_not_eat_the_scripts_stdin(fleet: SshdFleet) -> None:
    text = """
import sys
print(sys.stdin.readline(), end="")
print(run("node001", "cat", ssh=ssh)["result"]["node001"])
print(sys.stdin.read(), end="")
"""
    ran = subprocess.run(
        script(fleet, text),
        check=True,
        input="first\nsecond\nthird\n",
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    lines = ran.stdout.splitlines()
    assert (lines[0], lines[2:]) == ("first", ["second", "third"])
    assert "'out': ''" in lines[1]


def test_three_hundred_hosts_at_once_with_256_open_files(fleet: SshdFleet) -> None:
    text = f"""
import logging, os, resource
logging.basicConfig(level=logging.WARNING)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
result = run({list(fleet.hosts)!r}, "true", ssh=ssh)["result"]
print(len(result), {{each["status"] for each in result.values()}}, [e for e in result.values() if e["err"]])
"""
    ran = subprocess.run(script(fleet, text), check=True, capture_output=True, text=True, env=ENVIRONMENT, timeout=50)
    assert ran.stdout == "300 {'success'} []\n"
    assert ran.stderr.count("fanout lowered") == 1
    assert "wanted=300" in ran.stderr


def test_run_works_in_a_thread(fleet: SshdFleet) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(run("node001", "true", ssh=fleet.ssh)))
    thread.start()
    thread.join()
    assert answers[0]["result"]["node001"]["status"] == STATUS_SUCC


def test_run_works_in_two_threads_at_once(fleet: SshdFleet) -> None:
    answers: dict[str, Any] = {}
    meeting = threading.Barrier(2)

    def work(host: str) -> None:
        meeting.wait()
        answers[host] = run(host, "sleep 0.2; echo $SSH_CONNECTION", ssh=fleet.ssh)

    threads = [threading.Thread(target=work, args=(host,)) for host in ("node001", "node002")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {host: answers[host]["result"][host]["status"] for host in answers} == {
        "node001": STATUS_SUCC,
        "node002": STATUS_SUCC,
    }


def test_run_works_inside_a_running_loop(fleet: SshdFleet, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> Any:
        return run("node001", "true", ssh=fleet.ssh)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main())["result"]["node001"]["status"] == STATUS_SUCC


# one bad host never hides the others


def test_unreachable_host_says_why_and_hides_nobody(fleet: SshdFleet) -> None:
    fleet.add_host("closed", options={"Port": "1"})
    result = run(["closed", "node001"], "echo fine", ssh=fleet.ssh)["result"]
    assert result["closed"]["status"] == STATUS_FAIL
    assert "Connection refused" in result["closed"]["err"]
    assert result["closed"]["out"] == ""
    assert result["node001"]["out"] == "fine\n"


@pytest.mark.parametrize("name", ["-oProxyCommand=x", "a b", "", "web[1-3]", "ops@", "a;b", "web1:0", "ü"])
def test_impossible_name_is_that_hosts_own_failure(fleet: SshdFleet, name: str) -> None:
    result = run([name, "node001"], "true", ssh=fleet.ssh)["result"]
    assert list(result) == [name, "node001"]
    assert result[name]["status"] == STATUS_FAIL
    assert result[name]["err"].count("\n") == 1
    assert result[name]["delta_time"] == 0
    assert result["node001"]["status"] == STATUS_SUCC


def test_only_impossible_names_start_nothing() -> None:
    result = run(["-x"], "true", ssh=Ssh(program="/nowhere/ssh"))["result"]
    assert "nowhere" not in result["-x"]["err"]


def test_no_names_are_no_results() -> None:
    assert run([], "true")["result"] == {}


def test_missing_ssh_is_every_hosts_failure() -> None:
    result = run(["web1", "web2"], "true", ssh=Ssh(program="/nowhere/ssh"))["result"]
    assert [(each["status"], "'/nowhere/ssh'" in each["err"]) for each in result.values()] == [
        (STATUS_FAIL, True)
    ] * 2


def test_failed_command_keeps_its_own_words(fleet: SshdFleet) -> None:
    result = run("node001", "echo gone wrong >&2; exit 3", ssh=fleet.ssh)["result"]["node001"]
    assert (result["status"], result["err"]) == (STATUS_FAIL, "gone wrong\n")


def test_no_byte_of_output_is_lost(fleet: SshdFleet) -> None:
    result = run("node001", r"printf '\377\303\244\000'; printf '\200' >&2", ssh=fleet.ssh)["result"]["node001"]
    assert result["out"].encode("utf-8", "surrogateescape") == b"\xff\xc3\xa4\0"
    assert result["err"] == "\udc80"


def test_empty_user_is_no_user(fleet: SshdFleet) -> None:
    assert run("node001", "true", "", ssh=fleet.ssh)["result"]["node001"]["status"] == STATUS_SUCC


def test_user_is_handed_on(fleet: SshdFleet) -> None:
    result = run("node001", "true", "nobody-here", ssh=fleet.ssh)["result"]["node001"]
    assert "nobody-here" in result["err"]


def test_command_reaches_the_host_byte_for_byte(fleet: SshdFleet) -> None:
    command = "tr '\\0' '\\n' </proc/$$/cmdline; : \"$HOME\"  'a\tb'  # end"
    result = run("node001", command, ssh=fleet.ssh)["result"]["node001"]
    assert result["out"].split("\n", 2)[2] == command + "\n"


def test_timeout_is_among_the_options(fleet: SshdFleet) -> None:
    result = run("node001", "sleep 30", ssh=fleet.ssh, timeout=0.3)["result"]["node001"]
    assert (result["status"], result["err"]) == (STATUS_FAIL, "timed out after 0.3 s in run\n")


@pytest.mark.parametrize("hostname", [None, 7, b"web1", {"web1": 1}])
def test_what_are_no_names_is_refused(hostname: Any) -> None:
    with pytest.raises(InvalidSetting, match="hostname"):
        run(hostname, "true")


@pytest.mark.parametrize("odd", [None, 7, b"web1", ["web1"]])
def test_entry_that_is_no_name_spoils_only_itself(fleet: SshdFleet, odd: Any) -> None:
    names: Any = ["node001", odd]
    result = run(names, "echo here", ssh=fleet.ssh)["result"]
    assert result["node001"]["out"] == "here\n"
    assert (result[str(odd)]["status"], result[str(odd)]["delta_time"]) == (STATUS_FAIL, 0.0)
    assert "is not text" in result[str(odd)]["err"]


def test_delta_time_is_a_float_even_if_ssh_was_never_started() -> None:
    (result,) = run("web1", "true", ssh=Ssh(program="no-such-program"))["result"].values()
    assert isinstance(result["delta_time"], float)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"timeout": -1}, InvalidSetting), ({"user": "-x"}, InvalidTarget), ({"fanout": 0}, InvalidSetting)],
)
def test_impossible_option_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        run("web1", "true", **options)


@pytest.mark.parametrize("name", ["timeuot", "hosts"])
def test_unknown_option_is_refused(name: str) -> None:
    options: Any = {name: 3}
    with pytest.raises(TypeError, match=rf"^run\(\) got an unexpected keyword argument '{name}'$"):
        run("web1", "true", **options)


# Ctrl-C


@pytest.mark.parametrize("times", [1, 3])
def test_keyboard_interrupt_leaves_nothing(fleet: SshdFleet, tmp_path: Path, times: int) -> None:
    text = f"""
try:
    run({list(fleet.hosts[:5])!r}, "echo $$ >>{tmp_path}/started; exec sleep 60", ssh=ssh)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**ENVIRONMENT, "TMPDIR": os.fspath(temporary)}
    with subprocess.Popen(script(fleet, text), stdout=subprocess.PIPE, text=True, env=environment) as caller:
        started = tmp_path / "started"
        wait_until(lambda: started.exists() and len(started.read_text().split()) == 5, "all commands run")
        ssh = children(caller.pid)
        assert len(ssh) == 5
        for _ in range(times):
            caller.send_signal(signal.SIGINT)
        assert caller.stdout is not None
        said = caller.stdout.read()
        caller.wait(10)
    if times == 1:  # the later signals may come when `run` is over
        assert (said, caller.returncode) == ("interrupted\n", 0)
    wait_until(lambda: not any(is_running(pid) for pid in ssh), "all ssh to be gone")
    assert list(temporary.iterdir()) == []
    for pid in started.read_text().split():
        os.kill(int(pid), signal.SIGKILL)


def test_answer_is_plain_data(fleet: SshdFleet) -> None:
    answer = run("node001", "true", ssh=fleet.ssh)
    assert json.loads(json.dumps(answer)) == answer


# the end of the interpreter


AT_EXIT = {
    "thread that outlives the main one": """
import threading
def later():
    threading.main_thread().join()
    print(run("node001", "echo hi", ssh=ssh)["result"])
threading.Thread(target=later).start()
""",
    "atexit": """
import atexit
atexit.register(lambda: print(run("node001", "echo hi", ssh=ssh)["result"]))
""",
}


@pytest.mark.parametrize("text", AT_EXIT.values(), ids=AT_EXIT)
def test_run_works_while_the_interpreter_shuts_down(fleet: SshdFleet, text: str) -> None:
    ran = subprocess.run(
        script(fleet, "run" + text), check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=30
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith("{'node001': {'out': 'hi\\n', 'err': '', 'status': 'success', ")


def test_run_that_comes_too_late_says_so(fleet: SshdFleet) -> None:
    text = """run
class Late:
    def __del__(self, print=print):
        try:
            run("node001", "echo hi", ssh=ssh)
        except RuntimeError as error:
            print(error)
late = Late()
"""
    ran = subprocess.run(
        script(fleet, text), check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=30
    )
    assert ran.stderr == ""
    assert ran.stdout == ("run() was called while Python unloads its modules: call it before that, or in atexit\n")


class Interrupted(Exception):
    """Raised by a signal handler."""


def test_exception_of_a_signal_handler_ends_the_run_at_any_moment(stand_in: Callable[..., Ssh]) -> None:
    def handler(number: int, frame: object) -> None:
        raise Interrupted

    def start_and_run(timer: threading.Timer) -> None:
        timer.start()
        run(["web1", "web2"], "true", ssh=ssh)

    ssh, main = stand_in("exec sleep 60"), threading.get_ident()
    there, threads = children(), set(threading.enumerate())
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for seconds in (0.0, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.3):
            timer = threading.Timer(seconds, lambda: signal.pthread_kill(main, signal.SIGUSR1))
            with pytest.raises(Interrupted):
                start_and_run(timer)
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    wait_until(lambda: children() <= there, "the children to be ended")
    wait_until(lambda: set(threading.enumerate()) <= threads, "the threads to end")
