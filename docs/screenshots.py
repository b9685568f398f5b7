"""Draw docs/run.svg, gathered.svg and failing.svg from real runs over a private sshd.

Usage: python docs/screenshots.py
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sshfan_async.testing import SshdFleet

HERE = Path(__file__).parent
COLUMNS = 100
HOSTS = [*(f"web{number}" for number in range(1, 9)), "db1", "db2"]
SPECIAL_HOSTS = {"web3": "RELEASE=6.1.0-21", "web6": "LOAD=9", "db2": "CODE=3"}
RUNS = {
    "run": ["-w", "web[1-3],db1", "uname -sm; date +%R"],
    "gathered": ["--diff", "-w", "web[1-8],db[1-2]", "echo release ${RELEASE:-6.1.0-25}; uname -m"],
    "failing": [
        "-u",
        "2",
        "-w",
        "web[1-8],db[1-2]",
        "sleep ${LOAD:-0}; [ -z $CODE ] || { echo no disk >&2; exit $CODE; }",
    ],
}


def main() -> None:
    """Draw all screenshots."""
    with SshdFleet(HOSTS, sshd_options={"AcceptEnv": "*"}) as fleet:
        for host, setting in SPECIAL_HOSTS.items():
            fleet.add_host(host, options={"SetEnv": setting})
        fleet.add_host("web8", options={"HostName": "127.0.0.1", "Port": "1"})
        for name, arguments in RUNS.items():
            draw(name, arguments, str(fleet.ssh_config))


def draw(name: str, arguments: list[str], config: str) -> None:
    """Run one command line and draw the final state of its terminal."""
    option = f"--ssh-config={config}"
    raw = in_terminal([sys.executable, "-m", "sshfan_async", option, *arguments]).replace(f"{option} ", "")
    shown = " ".join(f"'{word}'" if re.search(r"[^\w-]", word) else word for word in arguments)
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115, closed at exit
    console.print(Text(f"$ sshfan {shown}"))
    console.print(Text.from_ansi("\n".join(final_lines(raw)).rstrip()))
    console.save_svg(str(HERE / f"{name}.svg"), title="sshfan")


def in_terminal(argv: list[str]) -> str:
    """Run `argv` in a terminal of its own and return the bytes that it writes there."""
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )
    os.close(terminal)
    raw = b""
    while True:
        try:
            raw += os.read(controller, 65536)
        except OSError:  # EIO: no process has the terminal open any more
            break
    process.wait()
    os.close(controller)
    return raw.decode()


def final_lines(raw: str) -> list[str]:
    """Return the lines that `raw` leaves on the terminal, with colours, without the erased progress display."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;]*[A-Za-ln-z]|\r|\n|(?:\x1b\[[0-9;]*m|[^\x1b\r\n])+", raw):
        if part == "\n":
            row += 1
            lines += [""] * (row - len(lines) + 1)
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif part != "\r":
            lines[row] += part
    return lines


if __name__ == "__main__":
    main()
