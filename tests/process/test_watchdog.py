"""A wrapped command behaves as without the wrapper, in every login shell; `Reports` takes out the reports."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshfan_async import fan_out
from sshfan_async.process.watchdog import Reports, Wrapper, new_secret
from sshfan_async.settings import OnStop
from tests.support import processes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sshfan_async.testing import SshdFleet

SECRET = "sshfan-0123456789abcdef"
PREFIX = SECRET.encode() + b":"

SEVERAL_LINES = """\
if true; then
    echo "in the middle of
several lines"
fi
"""

HERE_DOCUMENT = """\
cat <<'END'
$HOME `date` \\n 'quoted' "twice"
END
cat <<END
$((1 + 1)) lines
END
"""

LOTS = "x" * 25 + "y%!\n"

# Commands of POSIX shells: the name, the text, the standard input.
COMMANDS: dict[str, tuple[str, bytes | None]] = {
    "nothing to say": (":", None),
    "exit 0": ("exit 0", None),
    "exit 1": ("exit 1", None),
    "exit 2": ("exit 2", None),
    "exit 126": ("exit 126", None),
    "exit 127": ("exit 127", None),
    "exit 137": ("exit 137", None),
    "exit 143": ("exit 143", None),
    "exit 255": ("exit 255", None),
    "every exit code": ("for i in 0 3 64 125 128 129 254; do (exit $i); echo $?; done", None),
    "no such command": ("no-such-command --at-all", None),
    "no permission": ("/etc/passwd", None),
    "syntax error": ("if then fi (", None),
    "death by KILL": ("kill -KILL $$", None),
    "death by TERM": ("kill -TERM $$", None),
    "death by SEGV": ("ulimit -c 0; kill -SEGV $$", None),
    "death by PIPE": ("kill -PIPE $$", None),
    "death by HUP": ("kill -HUP $$", None),
    "death by INT": ("kill -INT $$", None),
    "death of a child": ("sh -c 'kill -TERM $$'; echo $?", None),
    "broken pipe": ("yes | head -n 1; echo done", None),
    "single quotes": ("echo 'a b'  'c'\\''d' ''", None),
    "double quotes": ('x="a  b"; echo "$x" $x "\\$x" "\\"" "`echo tick`"', None),
    "backslashes": (r"printf '%s\n' a\ b '\n' '\\' \\ '\0101' '\c' x", None),
    "backslash at the end": ("echo a\\", None),
    "exclamation marks": ("echo a! '!b' !! '!$'; ! false; echo $?", None),
    "percent signs": ("echo %s %d 100% '%%' %n; printf '%s%%\n' 5", None),
    "dollars, braces, tildes": ("echo $ '$x' ${x-unset} {a} ~root * ? | cat", None),
    "unicode": ("echo 'größe 日本語 \U0001f600'", None),
    "bytes that are no text": (os.fsdecode(b"echo '\xff\xfe' | od -c"), None),
    "control characters": ("printf '%s' 'a\tb\rc\x01\x1b[0m\x7f' | od -c", None),
    "several lines": (SEVERAL_LINES, None),
    "newline at the end": ("echo a\n\n", None),
    "comment at the end": ("echo a # no more", None),
    "here-document": (HERE_DOCUMENT, None),
    "100 KB": (f": '{LOTS * 3400}'; echo long", None),
    "pipe": ("seq 1 1000 | grep 7 | wc -l", None),
    "subshells": ('(cd /; pwd; (exit 4)); echo $?; x=$(echo a; echo b); echo "$x"', None),
    "exec": ('exec sh -c \'echo "$0" "$#" "$@"; exit 5\' a b c', None),
    "exec of a descriptor": ("exec 3>&1 4>&2; echo a >&3; echo b >&4; exec 3>&- 4>&-", None),
    "exit trap": ("trap 'echo bye' EXIT; echo hello; exit 6", None),
    "signal trap": ("trap 'echo caught' TERM USR1; kill -TERM $$; kill -USR1 $$; echo on", None),
    "set -e": ("set -e; echo before; false; echo after", None),
    "set -u": ("set -u; echo before; echo $unset; echo after", None),
    "functions": ('f() { echo "$1"; return 3; }; f x; echo $?', None),
    "loops and case": ("for i in a b; do case $i in a) echo A;; *) echo other;; esac; done", None),
    "both outputs, no newline at the end": ("printf out; printf err >&2", None),
    "binary output": ("head -c 300 /dev/zero; printf '\\377\\000' >&2", None),
    "closes its outputs": ("exec >&- 2>&-; sleep 0.05; exit 3", None),
    "closes all": ("exec <&- >&- 2>&-; exit 3", None),
    "writes the wrapper's words": ("echo watched; echo :ended >&2; echo sshfan- >&2; printf sshfan-0 >&2", None),
    "background job and wait": ("(sleep 0.05; exit 3) & wait $!; echo $?", None),
    "background job writes on": ("(sleep 0.1; echo later) & echo now", None),
    "jobs": ("sleep 0.05 & jobs | wc -l; wait; jobs", None),
    "name and parameters": ('echo "$0" $# "$@"; echo $-', None),
    "message of the shell": ("nonono 2>&1; cd /no/such", None),
    # SHLVL: busybox counts a shell that is exec'd too.
    "environment": ("env | grep -Ev '^(_|SHLVL|SSH_.*)=' | sort", None),
    "directory, umask, limits": ("pwd; umask; ulimit -n", None),
    "signal dispositions": ("grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status", None),
    "descriptors": ("ls /proc/self/fd", None),
    "leads its session": ("cut -d' ' -f6 /proc/$$/stat | grep -x $$ >/dev/null && echo y", None),
    "no terminal": ("test -t 0 || test -t 1 || echo none; (: </dev/tty) 2>/dev/null || echo none", None),
    "read at the end of input": ("read x; echo $?", None),
    "reads nothing given": ("wc -c", None),
    "ignores 1 byte": ("echo a", b"x"),
    "ignores 200 KB": ("echo a", LOTS.encode() * 7000),
    "ignores 5 MB": ("echo a; exit 3", bytes(5_000_000)),
    "reads 0 bytes": ("wc -c", b""),
    "reads 1 byte": ("od -c", b"\n"),
    "reads 200 KB": ("cksum", LOTS.encode() * 7000),
    "reads 5 MB": ("cksum", os.urandom(5_000_000)),
    "reads part": ("head -c 1000 | cksum", os.urandom(200_000)),
    "reads a line": ('read -r x; echo "$x"; read -r y; echo "$y"', b"a \\ b\nc\nd"),
    "reads late": ("sleep 0.1; cksum", os.urandom(200_000)),
    "closes its input": ("exec <&-; echo a", os.urandom(200_000)),
    "reads in the background": ("cat <&0 & wait", b"abc"),
    "is given a script": ("sh -s a b", b'echo "$1 $2"\ncat\necho not run\n'),
}

# Commands that csh and fish understand too.
PLAIN = [
    "exit 3",
    "echo a b 'c  d' \"e\"",
    "echo 'it'\\''s' a\\!b",
    "echo 100% %s '\\n'",
    "seq 1 1000 | grep 7 | wc -l",
    "sh -c 'echo out; echo err >&2; kill -KILL $$'",
    "no-such-command",
    "echo a; echo b\necho c\n",
    "cat",
    "echo größe",
]


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: bytes
    stderr: bytes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home directory with a link to busybox: a login shell must be one program."""
    directory = tmp_path / "home"
    directory.mkdir()
    (directory / "bin").mkdir()
    (directory / "bin" / "sh").symlink_to(shutil.which("busybox") or "")
    return directory


def session(
    home: Path, shell: str, text: str, stdin: bytes | None, *, held_open: bool, path: str = os.environ["PATH"]
) -> Ended:
    """Run `text` as sshd does: by the login shell, in a new session; and end it in the same way."""
    argv = [*shell.split(), "-c", text]
    if argv[0] == "busybox":
        argv[:2], path = ["sh"], f"{home}/bin:{path}"
    program = shutil.which(argv[0], path=path)
    assert program is not None
    environment = {"PATH": path, "HOME": str(home), "SHELL": program, "LC_ALL": "C.UTF-8"}
    environment |= dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "mine")
    process = subprocess.Popen(
        argv,
        executable=program,
        env=environment,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None

    def give(pipe: int, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(pipe, data) :]
        if not held_open:
            os.close(pipe)

    pipe = os.dup(process.stdin.fileno())
    process.stdin.close()
    giving = threading.Thread(target=give, args=(pipe, stdin or b""))
    giving.start()
    with ThreadPoolExecutor(2) as readers:
        stdout, stderr = readers.submit(process.stdout.read), readers.submit(process.stderr.read)
        returncode = process.wait()
        giving.join()
        if held_open:
            os.close(pipe)
        ended = Ended(returncode, stdout.result(), stderr.result())
    process.stdout.close()
    process.stderr.close()
    return ended


async def test_wrapped_command_behaves_as_it_is_through_sshd(fleet: SshdFleet) -> None:
    narrow = asyncio.Semaphore(8)

    async def seen(name: str, on_stop: Literal["leave", "kill"]) -> dict[str, object]:
        command, stdin = COMMANDS[name]
        async with narrow:
            outcome = (await fan_out("node001", command, stdin=stdin, on_stop=on_stop, ssh=fleet.ssh))["node001"]
        return {field: getattr(outcome, field) for field in ("status", "exit_code", "stdout", "stderr", "remote")}

    names = list(COMMANDS)
    as_it_is = await asyncio.gather(*(seen(name, "leave") for name in names))
    wrapped = await asyncio.gather(*(seen(name, "kill") for name in names))
    assert dict(zip(names, wrapped, strict=True)) == dict(zip(names, as_it_is, strict=True))


def wrapped(text: str, stdin: bytes | None, on_stop: OnStop = OnStop.KILL) -> str:
    size = None if stdin is None else len(stdin)
    return Wrapper(text, on_stop=on_stop, grace=1.0, stdin_size=size).text(SECRET)


def own(ended: Ended) -> tuple[Ended, Reports]:
    """Take the reports out."""
    reports = Reports(SECRET)
    stderr = reports.feed(ended.stderr) + reports.flush()
    return Ended(ended.returncode, ended.stdout, stderr), reports


POSIX_SHELLS = ("dash", "bash", "busybox sh", "zsh")
OTHER_SHELLS = ("csh", "fish")


def installed(shells: Iterable[str]) -> list[str]:
    return [shell for shell in shells if shutil.which(shell.partition(" ")[0]) is not None]


@pytest.mark.parametrize("shell", [*POSIX_SHELLS, *OTHER_SHELLS])
def test_login_shell_is_among_the_tested(shell: str) -> None:
    if not installed([shell]):
        pytest.skip(f"{shell} is not installed: nothing is known of it here")


def compare(home: Path, shells: Iterable[str], command: str, stdin: bytes | None, on_stop: OnStop) -> None:
    """Run a command as it is and wrapped, under each of the shells."""

    def both(shell: str) -> tuple[Ended, Ended, bool | None]:
        expected = session(home, shell, command, stdin, held_open=False)
        ended, reports = own(session(home, shell, wrapped(command, stdin, on_stop), stdin, held_open=True))
        return expected, ended, reports.watched

    with ThreadPoolExecutor(4) as threads:
        for shell, (expected, ended, watched) in zip(shells, threads.map(both, shells), strict=True):
            assert (shell, ended, watched) == (shell, expected, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_wrapped_command_behaves_as_it_is(home: Path, name: str) -> None:
    on_stop = OnStop.ALWAYS if len(name) % 2 else OnStop.KILL
    compare(home, installed(POSIX_SHELLS), *COMMANDS[name], on_stop)


@pytest.mark.parametrize("command", PLAIN)
def test_wrapped_command_behaves_as_it_is_in_shells_that_are_not_posix(home: Path, command: str) -> None:
    compare(home, installed(OTHER_SHELLS), command, b"given\n", OnStop.KILL)


@pytest.mark.parametrize("first", [None, ""])
def test_shell_is_the_accounts_own_if_path_leads_to_another_of_that_name(tmp_path: Path, first: str | None) -> None:
    """An empty directory in PATH is the current one (POSIX, Base Definitions, 8.3)."""
    (tmp_path / "dash").symlink_to("/bin/false")
    shell = shutil.which("dash")
    assert shell is not None
    path = f"{tmp_path if first is None else first}:{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", wrapped('echo "$0"', None)],
        env={"PATH": path, "SHELL": shell},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == f"{shell}\n"


# hosts on which the wrapper cannot start its watchdog


def test_command_runs_unwatched_without_setsid(home: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in ("sh", "dash", "cat", "head", "mktemp", "mkfifo", "rm", "wc"):
        (programs / program).symlink_to(shutil.which(program) or "")
    ended, reports = own(
        session(home, "dash", wrapped("wc -c; exit 3", b"abc"), b"abc", held_open=False, path=str(programs))
    )
    assert ended == Ended(3, b"3\n", b"")
    assert reports.watched is False


def test_command_runs_unwatched_without_a_temporary_directory(home: Path) -> None:
    text = "export TMPDIR=/nonexistent; " + wrapped("wc -c; exit 3", b"abc")
    ended, reports = own(session(home, "dash", text, b"abc", held_open=False))
    assert ended == Ended(3, b"3\n", b"")
    assert reports.watched is False


def test_nothing_is_left_if_no_fifo_can_be_made(home: Path, tmp_path: Path) -> None:
    programs, temporary = tmp_path / "programs", tmp_path / "temporary"
    programs.mkdir()
    temporary.mkdir()
    (programs / "mkfifo").symlink_to("/bin/false")
    path = f"{programs}:{os.environ['PATH']}"
    text = f"export TMPDIR={temporary}; " + wrapped("cat", b"abc")
    ended, reports = own(session(home, "dash", text, b"abc", held_open=False, path=path))
    assert ended == Ended(0, b"abc", b"")
    assert reports.watched is False
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("stdin", [b"", b"abc", bytes(1_000_000)])
@pytest.mark.parametrize("command", ["true", "cat >/dev/null", "kill -KILL $$", "exec <&-; sleep 0.05"])
def test_no_temporary_file_stays(home: Path, tmp_path: Path, stdin: bytes, command: str) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    session(home, "dash", f"export TMPDIR={temporary}; " + wrapped(command, stdin), stdin, held_open=True)
    assert list(temporary.iterdir()) == []


def test_watchdog_waits_for_no_command_that_died_of_a_lost_connection(tmp_path: Path) -> None:
    """If nobody reads standard error, the first report ends the launcher with SIGPIPE."""
    text = f"export TMPDIR={tmp_path}; " + wrapped("cat", b"abc")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            ["dash", "-c", text], input=b"abc", stdout=subprocess.DEVNULL, stderr=writer, check=False
        )
    finally:
        os.close(writer)
    assert done.returncode == -signal.SIGPIPE
    processes.wait_until(lambda: list(tmp_path.iterdir()) == [], "the directory removed")


def test_restricted_shell_refuses_the_wrapper_and_nothing_is_reported(home: Path) -> None:
    ended, reports = own(session(home, "bash -r", wrapped("echo a", None), None, held_open=False))
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"restricted" in ended.stderr
    assert reports.watched is None


# kill requests


def test_watchdog_ignores_input_that_is_no_kill_request(tmp_path: Path) -> None:
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        ["sh", "-c", wrapped(f"echo here; read -r x <{fifo}; exit 4", None)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(
        b"kill\n\nsshfan:kill\n" + SECRET.encode() + b":kil\n" + PREFIX + b"kill\n" + bytes(10_000) + b"\n"
    )
    process.stdin.flush()
    fifo.write_text("on\n")
    assert process.wait() == 4
    assert process.communicate() == (b"here\n", PREFIX + b"watched\n")


# Reports

STATES = (b"watched\n", b"unwatched\n", b"there\n", b"ended 0123\n", b"left 0123\n", b"ended\n", b"left\n")
pieces = st.lists(
    st.one_of(
        st.sampled_from([PREFIX + state for state in STATES]),
        st.sampled_from(
            [PREFIX[:-1], PREFIX, PREFIX * 2, b"sshfan-", b"s", b"\n", b"sshfan-fedcba9876543210:watched\n"]
        ),
        st.integers(0, len(PREFIX)).map(lambda length: PREFIX[:length]),
        st.binary(max_size=40),
    ),
    max_size=12,
)


def requested(reports: Reports) -> str:
    """Make `reports` send its kill request; return the nonce of the request, as the watchdog reads it."""
    return reports.kill_request().decode().rpartition(" ")[2].strip()


def fed(reports: Reports, *states: str) -> bytes:
    """Feed lines that begin with the secret; return the command's part."""
    return reports.feed(b"".join(PREFIX + state.encode() + b"\n" for state in states)) + reports.flush()


@given(pieces, st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_reports_are_found_however_the_stream_is_cut(
    parts: list[bytes], cuts: list[int], ends_with_input: bool
) -> None:
    data = b"".join(parts)
    reports = Reports(SECRET, ends_with_input=ends_with_input)
    own = b""
    for start, end in itertools.pairwise([0, *sorted(cuts), max([len(data), *cuts])]):
        own += reports.feed(data[start:end])
    first = re.search(re.escape(PREFIX) + rb"(?:un)?watched\n", data)
    expected = data if first is None else data[: first.start()] + data[first.end() :]
    if first is not None and ends_with_input and b":watched" in first[0]:
        expected = data[: first.start()] + re.sub(re.escape(PREFIX) + rb"there\n", b"", data[first.end() :])
    assert own + reports.flush() == expected
    assert reports.watched == (None if first is None else b":watched" in first[0])
    assert not reports.ended
    assert not reports.left


@given(pieces, st.binary(max_size=100))
def test_no_more_is_held_than_may_become_a_report(parts: list[bytes], last: bytes) -> None:
    data = b"".join(parts) + last
    reports = Reports(SECRET)
    reports.feed(data)
    held = reports.flush()
    assert held == b"" or any((PREFIX + state).startswith(held) for state in STATES)


def test_report_without_the_secret_is_the_commands_own() -> None:
    forged = b"sshfan-0000000000000000:watched\n:watched\nwatched\n" + PREFIX + b"endless\n"
    reports = Reports(SECRET)
    assert reports.feed(forged) + reports.flush() == forged
    assert reports.watched is None


@pytest.mark.parametrize("forged", ["unwatched", "watched", "there", "ended", "left", "ended 0", "left 0", ""])
def test_later_report_is_the_commands_own_although_it_knows_the_secret(forged: str) -> None:
    reports = Reports(SECRET)
    assert fed(reports, "watched") == b""
    assert fed(reports, forged) == PREFIX + forged.encode() + b"\n"
    assert (reports.watched, reports.ended, reports.left) == (True, False, False)


@pytest.mark.parametrize("state", ["ended", "left"])
def test_watchdogs_answer_is_believed_with_the_nonce_of_our_request_only(state: str) -> None:
    reports = Reports(SECRET)
    fed(reports, "watched")
    nonce = requested(reports)
    assert requested(reports) == nonce
    assert fed(reports, f"{state} {nonce[:-1]}", f"{state} ", state) != b""
    assert not getattr(reports, state)
    assert fed(reports, f"{state} {nonce}") == b""
    assert getattr(reports, state)


def test_nonces_differ() -> None:
    assert len({requested(Reports(SECRET)) for _ in range(100)}) == 100


def test_command_that_writes_the_secret_for_ever_is_not_held() -> None:
    reports = Reports(SECRET)
    assert len(reports.feed(PREFIX + bytes(1_000_000))) == len(PREFIX) + 1_000_000


def test_secrets_differ() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
