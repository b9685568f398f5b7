"""Prepare this machine for the measurements, and describe it."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from contextlib import suppress

__all__ = ["facts", "keep_bytecode", "raise_descriptor_limit"]


def raise_descriptor_limit() -> None:
    """Raise the limit on open files to the hard limit, because thousands of children need it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_bytecode() -> None:
    """Let Python children compile and keep their modules, as an installed program does."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def facts() -> dict[str, str]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    load = os.getloadavg()[0]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "machine": f"{_processor()}, {os.cpu_count()} CPUs, {_memory()}, load {load:.1f} at the start",
        "kernel": f"{platform.system()} {platform.release()}",
        "OpenSSH": _openssh(),
        "ulimit -n": str(soft),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _processor() -> str:
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def _openssh() -> str:
    try:
        return subprocess.run(["ssh", "-V"], check=False, capture_output=True, text=True).stderr.strip()
    except OSError:
        return "none"
