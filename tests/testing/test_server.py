from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sshfan_async.errors import FleetUnavailable
from sshfan_async.testing import SshdFleet, server
from tests.support import accounts
from tests.support.project import PYTHONPATH
from tests.support.ssh_client import ssh

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """A directory for every user, with all that SAY_HELLO imports: the project itself may be below /root."""
    with tempfile.TemporaryDirectory(prefix="public-") as directory:
        for source in map(Path, imported_files()):
            if source.name == "__init__.py":
                shutil.copytree(source.parent, Path(directory) / source.parent.name)
            else:
                shutil.copy(source, directory)
        Path(directory).chmod(0o777)
        yield Path(directory)


def imported_files() -> list[str]:
    """Return the file of each top-level module that our package imports, itself included."""
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
        pytest.skip(f"an ordinary user can use none of {pythons}: not there, not reachable, or of another version")
    ran = say_hello(public, python, accounts.environment(public, passwd), *become)
    assert (ran.stdout, ran.returncode) == ("54321\n", 0), ran.stderr


def runs_us(python: str, *prefix: str) -> bool:
    """Tell whether `python`, started behind `prefix`, is of this version and can start itself again."""
    version = sys.version_info[:2]  # another one may need other packages
    check = f"import os, sys; sys.exit(sys.version_info[:2] != {version} or not os.access(sys.executable, os.X_OK))"
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
