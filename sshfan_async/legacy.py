"""`run()`: the synchronous function, with the original signature and result."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import CancelledError
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack, cast

from sshfan_async.api import fan_out
from sshfan_async.engine.run import check_names
from sshfan_async.errors import InvalidSetting, InvalidTarget
from sshfan_async.loop.loops import LoopThread, run_alone
from sshfan_async.outcome import Outcome, Status
from sshfan_async.settings import UnaddressedOptions
from sshfan_async.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from sshfan_async.report import Report

__all__ = ["STATUS_FAIL", "STATUS_SUCC", "HostResult", "RunResult", "run"]

# They cannot be imported any more in a thread that outlives the main one, and in `atexit`.
for _module in ("concurrent.futures.thread", "sshfan_async.engine.results"):
    import_module(_module)

STATUS_SUCC: Final = "success"
STATUS_FAIL: Final = "fail"

_EXITED = frozenset({Status.OK, Status.FAILED})
"""With these, `err` is the command's own standard error. With any other status, the reason is appended."""


class HostResult(TypedDict):
    """The result of `run()` for one host."""

    out: str
    err: str
    status: str
    delta_time: float


class RunResult(TypedDict):
    """The result of `run()`."""

    ts: float
    cmd: str
    result: dict[str, HostResult]


_DEFAULTS: UnaddressedOptions = {"fanout": None, "connect_timeout": None, "on_stop": "leave"}


def run(
    hostname: str | Target | Iterable[str | Target],
    command: str,
    user: str | None = None,
    **options: Unpack[UnaddressedOptions],
) -> RunResult:
    """Run `command` on each host and return when all have ended.

    The keyword options are those of `fan_out`, with other defaults: all hosts run at once (as far as the limit on
    open files allows), there is no time limit, and the command is sent byte for byte (`on_stop="leave"`).

    Call it in any thread. In a running event loop it blocks that loop: await `fan_out` there instead.

    Args:
        hostname: a host name, a `Target`, or a list, tuple or set of them, such as `nodes()` returns. Names are not
            expanded; white space around a name is removed.
        command: text for the remote shell.
        user: the remote user for targets that name none; None and `""` leave it to ssh.
        **options: the keyword options of `fan_out`.

    Returns:
        A dict with `ts` (seconds since the epoch, at the end of the run), `cmd` (the command) and `result`, which has
        a dict for each host name (for a `Target`, its text):

        - `out`, `err`: text; bytes that are not UTF-8 are surrogate escapes. If the command did not exit (the host
          could not be reached, its name cannot be used, …), `err` ends with the reason.
        - `status`: `STATUS_SUCC` if the command exited with 0, else `STATUS_FAIL`.
        - `delta_time`: seconds from the launch of ssh to its end.

    Raises:
        InvalidSetting: `command`, `hostname` or an option cannot be used. Nothing has been started.
        InvalidTarget: `user` cannot be used. Nothing has been started.
        KeyboardInterrupt: Ctrl-C was pressed. All hosts have been ended.
        RuntimeError: Python is unloading its modules, after the functions of `atexit`.

    """
    check_names("run", options, UnaddressedOptions)
    if sys.meta_path is None:  # asyncio and much else cannot work any more
        raise RuntimeError("run() was called while Python unloads its modules: call it before that, or in atexit")
    names = _names(hostname)
    refused: dict[str, str] = {}
    accepted: dict[str, Target] = {}
    for name, given in names.items():
        try:
            accepted[name] = given if isinstance(given, Target) else Target.parse(cast("str", given))
        except InvalidTarget as error:
            refused[name] = str(error)
    settings: UnaddressedOptions = {**_DEFAULTS, **options}
    call = partial(fan_out, accepted.values(), command, user=None if user == "" else user, **settings)
    try:
        report = _call(call)
    except OSError as error:  # there is no thread, or no descriptor, for an event loop
        refused.update(dict.fromkeys(accepted, f"nothing can be started: {error.strerror or error}"))
    return {
        "ts": time.time(),
        "cmd": command,
        "result": {
            name: _refusal(refused[name]) if name in refused else _result(report[accepted[name]]) for name in names
        },
    }


def _call(function: Callable[[], Coroutine[Any, Any, Report]]) -> Report:
    """Await `function` in an event loop of its own.

    In the main thread, signal handlers can raise an exception at any moment. It must not end up inside the loop, so
    there the loop has a thread of its own, unless the interpreter is shutting down and starts no more threads.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if sys.is_finalizing() or (not is_main and not _loop_runs_here()):
        return run_alone(function)
    try:
        thread = LoopThread("sshfan run").__enter__()
    except OSError:
        if _loop_runs_here():
            raise
        return run_alone(function)
    return _call_in(thread, function)


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _call_in(thread: LoopThread, function: Callable[[], Coroutine[Any, Any, Report]]) -> Report:
    """Await `function` in the loop of `thread`, and end it. Ctrl-C cancels it, and is raised when that is done."""
    interrupted = False
    answer: Future[Report] | None = None

    def interrupt(number: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        if answer is not None:
            answer.cancel()

    # Keep an application's own handler. Python runs signal handlers in the main thread only.
    replace_handler = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if replace_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        with contextlib.ExitStack() as stack:
            stack.push(thread)
            answer = thread.start(function)
            if interrupted:
                answer.cancel()
            report = answer.result()
    except CancelledError:
        if not interrupted:
            raise
    finally:
        if replace_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt
    return report


def _names(hostname: object) -> dict[str, object]:
    """Return what was given for each host, under its key in the result: one bad entry spoils only itself."""
    given = [hostname] if isinstance(hostname, (str, Target)) else hostname
    if not isinstance(given, Iterable) or isinstance(given, (bytes, dict)):
        raise InvalidSetting(f"hostname={hostname!r}: give a name, a Target, or a list, tuple or set of them")
    names: dict[str, object] = {}
    for name in given:
        key = name.strip() if isinstance(name, str) else str(name)
        names.setdefault(key, name)
    return names


def _result(outcome: Outcome) -> HostResult:
    error = outcome.stderr.decode("utf-8", "surrogateescape")
    if outcome.status not in _EXITED:
        separator = "" if error == "" or error.endswith("\n") else "\n"
        error = f"{error}{separator}{outcome.reason}\n"
    return {
        "out": outcome.stdout.decode("utf-8", "surrogateescape"),
        "err": error,
        "status": STATUS_SUCC if outcome.ok else STATUS_FAIL,
        "delta_time": outcome.elapsed,
    }


def _refusal(reason: str) -> HostResult:
    return {"out": "", "err": f"{reason}\n", "status": STATUS_FAIL, "delta_time": 0.0}
