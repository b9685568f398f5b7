"""Build the server with Debian's Go, once for each version of its source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.harness.errors import Unavailable

__all__ = ["server_program"]

_SOURCE = Path(__file__).with_name("main.go")
_LIBRARIES = Path("/usr/share/gocode")
_SSH = _LIBRARIES / "src/golang.org/x/crypto/ssh"
_VARIABLES = {"GO111MODULE": "off", "GOPATH": str(_LIBRARIES), "GOFLAGS": "", "CGO_ENABLED": "0"}


def server_program() -> Path:
    """Return the server's program in the user's cache directory. Build it if it is not there.

    Raises:
        Unavailable: Go or its SSH library is missing.

    """
    go = shutil.which("go")
    if go is None or not _SSH.is_dir():
        raise Unavailable(
            "the server that answers at once needs Go: apt-get install golang-go golang-golang-x-crypto-dev"
        )
    directory = _cache()
    program = directory / f"server-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]}"
    if not program.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as building:
            built = Path(building) / "server"
            variables = {**os.environ, **_VARIABLES, "GOCACHE": str(directory / "go")}
            subprocess.run([go, "build", "-o", built, _SOURCE], check=True, env=variables)
            built.replace(program)
    return program


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sshfan-benchmarks"
