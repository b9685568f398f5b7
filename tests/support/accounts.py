"""Other user accounts for one process, through nss_wrapper: needs no privilege."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

LIBRARY = "libnss_wrapper.so"


def line(*, name: str, uid: int, home: str | Path = "/", shell: str = "/bin/sh") -> str:
    """Return an account as a line of passwd(5)."""
    return f"{name}:x:{uid}:{uid}::{home}:{shell}\n"


def current(home: str | Path) -> str:
    """Return the current user's account with another home."""
    entry = pwd.getpwuid(os.geteuid())
    return f"{entry.pw_name}:x:{entry.pw_uid}:{entry.pw_gid}::{home}:{entry.pw_shell}\n"


def environment(directory: Path, passwd: str, shadow: str = "") -> dict[str, str]:
    """Return the environment of a process that has the system's accounts, but with `passwd` before them.

    The files are made in `directory`. Skips the test if nss_wrapper is not installed.
    """
    said = subprocess.run(
        ["true"], check=True, env={**os.environ, "LD_PRELOAD": LIBRARY}, capture_output=True, text=True
    ).stderr
    if said:
        pytest.skip(f"libnss-wrapper is not installed: {said.strip()}")
    variables = {"LD_PRELOAD": LIBRARY, "NSS_WRAPPER_GROUP": "/etc/group"}
    texts = {"PASSWD": passwd + Path("/etc/passwd").read_text(), "SHADOW": shadow}
    for name, text in texts.items():
        path = directory / name.lower()
        path.write_text(text)
        path.chmod(0o644)
        variables[f"NSS_WRAPPER_{name}"] = os.fspath(path)
    return variables
