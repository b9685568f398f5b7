from __future__ import annotations

import asyncio
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async.errors import FleetUnavailable, InvalidSetting, SshfanError
from sshfan_async.testing import SshdFleet, server, subreaper
from sshfan_async.testing.configuration import Layout, sshd_config
from tests.support import accounts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]

PYTHONPATH = os.pathsep.join(map(os.path.abspath, sys.path))
"""Lets a child find what we find, wherever it runs."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[SshdFleet]:
    with SshdFleet(5, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as running:
        yield running


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parent of every fleet's directory, to see what stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def ssh(fleet: SshdFleet, host: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", "-F", fleet.ssh_config, host, *command],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


# names


def test_a_number_gives_names_that_sort() -> None:
    assert SshdFleet().hosts == ("node001", "node002", "node003")
    many = SshdFleet(1200).hosts
    assert many[0] == "node0001"
    assert list(many) == sorted(many)


def test_given_names_keep_their_order_and_collapse() -> None:
    assert SshdFleet(["web", "db.example", "web"]).hosts == ("web", "db.example")


@pytest.mark.parametrize(
    "hosts",
    [0, -1, True, 3.5, None, [], (), iter([]), "web", b"web", [3], [None], ["-oProxyCommand=x"], ["a b"], ["*"],
     ["a\nHost *"], [""]],
)  # fmt: skip
def test_impossible_hosts_are_refused_at_the_door(hosts: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"\A[^\n]*host[^\n]*\Z"):
        SshdFleet(hosts)


def test_each_host_answers_as_the_current_user(fleet: SshdFleet) -> None:
    for host in fleet.hosts:
        assert ssh(fleet, host, "id -un").stdout == pwd.getpwuid(os.geteuid()).pw_name + "\n"


@pytest.mark.parametrize("name", ["node006", "node000", "elsewhere.invalid"])
def test_a_name_outside_the_fleet_has_no_address(fleet: SshdFleet, name: str) -> None:
    assert "Could not resolve hostname" in ssh(fleet, name, "true").stderr


def test_names_beyond_one_block_of_the_configuration_are_known_too() -> None:
    with SshdFleet(250) as large:
        assert [ssh(large, host, "true").returncode for host in ("node001", "node100", "node101", "node250")] == [
            0
        ] * 4


# privacy


@pytest.mark.parametrize("host", ["node001", "elsewhere.invalid"])
def test_no_file_of_the_user_is_configured(fleet: SshdFleet, host: str) -> None:
    shown = subprocess.run(["ssh", "-F", fleet.ssh_config, "-G", host], check=True, capture_output=True, text=True)
    assert ".ssh/" not in shown.stdout
    assert "stricthostkeychecking true" in shown.stdout
    assert "identityagent none" in shown.stdout


def test_remote_home_is_private_and_empty(fleet: SshdFleet) -> None:
    assert ssh(fleet, "node001", 'echo "$HOME"; ls -A "$HOME"').stdout == f"{fleet.directory / 'home'}\n"


def test_directory_is_readable_by_its_owner_only(fleet: SshdFleet) -> None:
    assert fleet.directory.stat().st_mode & 0o777 == 0o700


def test_an_unknown_host_key_is_refused(fleet: SshdFleet) -> None:
    fleet.add_host("stranger", options={"UserKnownHostsFile": "/dev/null"})
    assert "Host key verification failed" in ssh(fleet, "stranger", "true").stderr


# the life of a fleet


def test_attributes_tell_of_the_running_sshd(fleet: SshdFleet) -> None:
    with socket.create_connection(("127.0.0.1", fleet.port), timeout=5) as connection:
        assert connection.recv(4) == b"SSH-"
    assert Path(f"/proc/{fleet.sshd_pid}/comm").read_text() == "sshd\n"
    assert fleet.ssh.config_file == fleet.ssh_config
    assert f"Server listening on 127.0.0.1 port {fleet.port}." in fleet.sshd_log()


async def test_async_with_keeps_the_loop_running(temporary: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    async with SshdFleet() as fleet:
        assert turns > 10
        assert ssh(fleet, "node003", "echo hello").stdout == "hello\n"
        pid = fleet.sshd_pid
    counting.cancel()
    assert is_gone(pid)
    assert list(temporary.iterdir()) == []


async def test_cancelled_start_leaves_nothing(temporary: Path) -> None:
    entering = asyncio.create_task(SshdFleet().__aenter__())
    while not list(temporary.iterdir()):
        await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert list(temporary.iterdir()) == []


async def test_cancelled_body_leaves_nothing(temporary: Path) -> None:
    running = asyncio.Event()

    async def use() -> None:
        async with SshdFleet():
            running.set()
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    await running.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert list(temporary.iterdir()) == []


def test_two_fleets_run_side_by_side() -> None:
    with SshdFleet(["left"]) as left, SshdFleet(["right"]) as right:
        assert left.port != right.port
        assert ssh(left, "left", "echo 1").stdout == "1\n"
        assert ssh(right, "right", "echo 2").stdout == "2\n"
        assert ssh(left, "right", "true").returncode == 255


def test_end_leaves_no_process_and_no_file(temporary: Path) -> None:
    with SshdFleet() as fleet:
        detached = ssh(
            fleet, "node001", "setsid sh -c 'trap \"\" TERM; echo $$; exec >&- 2>&-; while :; do sleep 9; done'"
        )
        escaped = int(detached.stdout)
        with subprocess.Popen(
            ["ssh", "-F", fleet.ssh_config, "node001", "echo $$; exec sleep 600"], stdout=-1
        ) as client:
            assert client.stdout is not None
            running = int(client.stdout.readline())
            sshd = fleet.sshd_pid
            assert not is_gone(escaped)
            fleet.__exit__(None, None, None)
            assert client.wait(5) == 255
    assert [pid for pid in (sshd, escaped, running) if not is_gone(pid)] == []
    assert list(temporary.iterdir()) == []


def test_exception_in_the_body_passes_and_leaves_nothing(temporary: Path) -> None:
    fleet = SshdFleet()
    with pytest.raises(ZeroDivisionError), fleet:
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


def test_death_of_the_owner_by_sigkill_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "from sshfan_async.testing import SshdFleet\nwith SshdFleet() as f: print(f.sshd_pid, flush=True); input()"
    )
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "TMPDIR": str(tmp_path)}
    owner = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        sshd = int(owner.stdout.readline())
        subreaper_pid = int(Path(f"/proc/{sshd}/stat").read_text().rpartition(")")[2].split()[1])
        ended = os.pidfd_open(subreaper_pid)
        owner.kill()
    try:
        assert select.select([ended], [], [], 10)[0] == [ended]
    finally:
        os.close(ended)
    assert is_gone(sshd)
    assert list(tmp_path.iterdir()) == []


def test_sshd_that_ends_by_itself_is_reported(temporary: Path) -> None:
    fleet = SshdFleet().__enter__()
    assert fleet._server is not None
    os.kill(fleet.sshd_pid, signal.SIGTERM)
    fleet._server.subreaper.wait(10)
    with pytest.raises(SshfanError, match=r"did not end well.*Received signal 15"):
        fleet.__exit__(None, None, None)
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root can remove every directory")
def test_what_cannot_be_removed_is_reported(temporary: Path) -> None:
    fleet = SshdFleet().__enter__()
    locked = fleet.directory / "home" / "locked"
    (locked / "inside").mkdir(parents=True)
    locked.chmod(0o500)
    with pytest.raises(SshfanError, match=r"did not end well.*Permission denied"):
        fleet.__exit__(None, None, None)
    locked.chmod(0o700)


def test_a_fleet_is_entered_once() -> None:
    fleet = SshdFleet()
    with fleet, pytest.raises(RuntimeError, match="once"):
        fleet.__enter__()
    with pytest.raises(RuntimeError, match="not running"):
        _ = fleet.port


# options


def test_options_replace_the_defaults_and_repeat() -> None:
    options = {"maxsessions": "0", "AcceptEnv": ["LANG", "SSHFAN_*"]}
    with SshdFleet(1, sshd_options=options) as fleet:
        text = (fleet.directory / "sshd_config").read_text()
        refused = ssh(fleet, "node001", "true")
    assert "MaxSessions" not in text
    assert "AcceptEnv LANG\nAcceptEnv SSHFAN_*\n" in text
    assert refused.returncode == 255


def test_refused_option_is_told_in_the_words_of_sshd(temporary: Path) -> None:
    with pytest.raises(FleetUnavailable, match=r"refused to start: .*Bad configuration option: NoSuchOption"):
        SshdFleet(sshd_options={"NoSuchOption": "1"}).__enter__()
    assert list(temporary.iterdir()) == []


def test_options_may_be_numbers_and_truths() -> None:
    with SshdFleet(1, sshd_options={"MaxSessions": 5, "PermitTTY": False, "SetEnv": []}) as fleet:
        text = (fleet.directory / "sshd_config").read_text()
        fleet.add_host("closed", options={"Port": 1, "Compression": True, "SendEnv": ["A", "B"]})
        config = fleet.ssh_config.read_text()
    assert "MaxSessions 5\nPermitTTY no\n" in text
    assert "MaxSessions 4096" not in text
    assert "SetEnv" not in text
    assert config.startswith("Host closed\nPort 1\nCompression yes\nSendEnv A\nSendEnv B\n")


@pytest.mark.parametrize(
    "options",
    [{"port": "22"}, {"A b": "c"}, {"Banner": "x\nPort 22"}, {"AcceptEnv": ["a\0"]}, {"AcceptEnv": [1]},
     {"MaxSessions": None}, {"MaxSessions": 1.5}, {"Banner": b"x"}, {1: "x"}, "MaxSessions=5", 5],
)  # fmt: skip
def test_impossible_options_are_refused_at_the_door(options: Any) -> None:
    with pytest.raises(InvalidSetting, match="option"):
        SshdFleet(sshd_options=options)


def test_penalties_are_off_where_sshd_has_them() -> None:
    def written(version: tuple[int, int]) -> str:
        return sshd_config(Layout(Path("/d")), 1, version=version, use_pam=False, options={})

    assert "PerSourcePenalties no" in written((9, 8))
    assert "PerSourcePenalties" not in written((9, 7))


def test_an_added_host_wins_over_the_general_options(fleet: SshdFleet) -> None:
    fleet.add_host("closed", options={"Port": "1"})
    fleet.add_host("far", options={"ProxyJump": "node001"})
    assert "Connection refused" in ssh(fleet, "closed", "true").stderr
    assert ssh(fleet, "far", "echo hello").stdout == "hello\n"
    assert "closed" not in fleet.hosts


def test_an_added_host_can_be_changed(fleet: SshdFleet) -> None:
    fleet.add_host("changing", options={"PubkeyAuthentication": "no"})
    assert "Permission denied" in ssh(fleet, "changing", "true").stderr
    fleet.add_host("changing", options={})
    assert ssh(fleet, "changing", "true").returncode == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a b", {}),
        (1, {}),
        ("a", {"Port 1\nHost": "*"}),
        ("a", {"Port": "1\nHost *"}),
        ("a", {"Port": None}),
        ("a", 1),
    ],
)
def test_impossible_added_hosts_are_refused(fleet: SshdFleet, name: Any, options: Any) -> None:
    with pytest.raises(InvalidSetting):
        fleet.add_host(name, options=options)


# what the machine may lack


@pytest.mark.parametrize(
    ("missing", "package"), [("sshd", "openssh-server"), ("ssh", "openssh-client"), ("ssh-keygen", "openssh-client")]
)
def test_missing_program_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, package: str
) -> None:
    for program in {"sshd", "ssh", "ssh-keygen"} - {missing}:
        (tmp_path / program).symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(server, "SBIN_DIRECTORIES", ())
    with pytest.raises(FleetUnavailable, match=f"^{missing} is not installed: install the package {package} "):
        SshdFleet().__enter__()


def test_a_port_taken_meanwhile_is_replaced(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    free = server._free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        choices = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(server, "_free_port", lambda: next(choices))
        with SshdFleet() as fleet:
            assert fleet.port == free
            assert len(list(temporary.iterdir())) == 1


def test_temporary_directory_with_a_space_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = tmp_path / "a b"
    parent.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(parent))
    with SshdFleet() as fleet:
        assert ssh(fleet, "node001", "echo hello").stdout == "hello\n"


def test_temporary_directory_that_ssh_would_expand_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = tmp_path / "%h"
    parent.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(parent))
    with pytest.raises(FleetUnavailable, match="set TMPDIR"):
        SshdFleet().__enter__()
    assert list(parent.iterdir()) == []


def test_privilege_separation_directory_goes_with_the_last_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sshd"
    monkeypatch.setattr(subreaper, "PRIVSEP_DIRECTORY", str(path))
    first, second = subreaper.hold_privsep_directory(), subreaper.hold_privsep_directory()
    subreaper.release_privsep_directory(first)
    os.close(first)
    assert path.stat().st_mode & 0o777 == 0o755
    subreaper.release_privsep_directory(second)
    os.close(second)
    assert not path.exists()


def test_privilege_separation_directory_of_the_system_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subreaper, "PRIVSEP_DIRECTORY", str(tmp_path))
    held = subreaper.hold_privsep_directory()
    subreaper.release_privsep_directory(held)
    os.close(held)
    assert tmp_path.is_dir()


@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed")
def test_descendants_found_by_ps_do_not_include_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subreaper, "parents_from_proc", subreaper.parents_from_ps)
    before = subreaper.descendants()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert subreaper.descendants() - before == {child.pid}


# other accounts

SAY_HELLO = """
import os, pathlib, subprocess
from sshfan_async.testing import SshdFleet, server
server.SHADOW = pathlib.Path(os.environ["NSS_WRAPPER_SHADOW"])
with SshdFleet() as fleet:
    subprocess.run(["ssh", "-F", fleet.ssh_config, "node001", "id -u"], stdin=subprocess.DEVNULL, check=True)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may use, with all that SAY_HELLO imports: the project itself may be below /root."""
    with tempfile.TemporaryDirectory(prefix="public-") as directory:
        for source in map(Path, imported_files()):
            if source.name == "__init__.py":
                shutil.copytree(source.parent, Path(directory) / source.parent.name)
            else:
                shutil.copy(source, directory)
        Path(directory).chmod(0o777)
        yield Path(directory)


def imported_files() -> list[str]:
    """Return the file of each module at the top that our package imports, itself included."""
    script = (
        "import sys; before = set(sys.modules); from sshfan_async.testing import SshdFleet\n"
        "for name in set(sys.modules) - before - sys.stdlib_module_names:\n"
        "    if '.' not in name: print(sys.modules[name].__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run(
        [sys.executable, "-c", script], check=True, env=environment, capture_output=True, text=True
    ).stdout.splitlines()


def say_hello(public: Path, python: str, accounts: dict[str, str], *prefix: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(public), "TMPDIR": str(public), **accounts}
    return subprocess.run(
        [*prefix, python, "-c", SAY_HELLO],
        check=False, cwd="/", env=environment, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="we are an ordinary user: every other test shows it")
def test_an_ordinary_user_needs_no_privilege(public: Path) -> None:
    passwd = accounts.line(name="ordinary", uid=54321)
    become = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    pythons = [os.path.realpath(sys.executable), "/usr/bin/python3"]
    python = next((python for python in pythons if runs_us(python, *become)), None)
    if python is None:
        pytest.skip(f"an ordinary user can use none of {pythons}: not there, not reachable, or too old")
    ran = say_hello(public, python, accounts.environment(public, passwd), *become)
    assert (ran.stdout, ran.returncode) == ("54321\n", 0), ran.stderr


def runs_us(python: str, *prefix: str) -> bool:
    """Tell whether `python` is new enough, and can be started again from within when started behind `prefix`."""
    check = "import os, sys; sys.exit(sys.version_info < (3, 11) or not os.access(sys.executable, os.X_OK))"
    return (
        subprocess.run([*prefix, python, "-I", "-c", check], check=False, cwd="/", capture_output=True).returncode
        == 0
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's sshd can see that a password is locked")
def test_root_with_a_locked_password_can_log_in(public: Path) -> None:
    locked = accounts.environment(public, "", "root:!:19000:0:99999:7:::\n")
    ran = say_hello(public, sys.executable, locked)
    assert (ran.stdout, ran.returncode) == ("0\n", 0), ran.stderr


def test_a_user_without_a_login_shell_is_told(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    entry = pwd.struct_passwd(("daemonic", "x", os.geteuid(), os.getegid(), "", "/", "/usr/sbin/nologin"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    with pytest.raises(FleetUnavailable, match=r"user daemonic cannot log in \(shell /usr/sbin/nologin\)"):
        SshdFleet().__enter__()
    assert list(temporary.iterdir()) == []


def test_a_user_without_an_account_is_told(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(FleetUnavailable, match=f"user id {os.geteuid()} is not in the password database"):
        SshdFleet().__enter__()
    assert list(temporary.iterdir()) == []


# scale


@pytest.mark.slow
def test_300_connections_at_once_are_served() -> None:
    with SshdFleet(300, sshd_options={"KexAlgorithms": "curve25519-sha256"}) as fleet:
        clients = [
            subprocess.Popen(["ssh", "-F", fleet.ssh_config, host, "true"], stdin=subprocess.DEVNULL)
            for host in fleet.hosts
        ]
        assert [client.wait() for client in clients] == [0] * 300


# pytest


def test_plugin_gives_fleets_of_the_whole_session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nsshd_fleet_hosts = 4\n")
    pytester.makepyfile(
        """
        seen = []

        def test_first(sshd_fleet, sshd_fleet_factory):
            seen.extend([sshd_fleet, sshd_fleet_factory(["web"])])
            assert len(sshd_fleet.hosts) == 4
            assert seen[1].hosts == ("web",)

        def test_second(sshd_fleet):
            assert sshd_fleet is seen[0]
            assert all(fleet.sshd_pid for fleet in seen)
        """
    )
    result = pytester.runpytest_subprocess("-p", "sshfan_async.testing.pytest_plugin", "-W", "error")
    result.assert_outcomes(passed=2)


def test_plugin_imports_nothing_of_the_package_until_a_fixture_is_used(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import sys

        def loaded():
            heavy = {"anyio", "asyncio", "click", "ClusterShell", "pytest_asyncio", "rich", "structlog"}
            return {name for name in sys.modules if name.startswith("sshfan_async") or name in heavy}

        def test_before():
            assert loaded() == {"sshfan_async", "sshfan_async.testing", "sshfan_async.testing.pytest_plugin"}

        def test_fixture(sshd_fleet_factory):
            assert "sshfan_async.testing.fleet" in loaded()
        """
    )
    result = pytester.runpytest_subprocess("-p", "sshfan_async.testing.pytest_plugin", "-W", "error")
    result.assert_outcomes(passed=2)
