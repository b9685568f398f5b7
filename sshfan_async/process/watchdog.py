"""The remote side of `on_stop`: wraps a command so that it, and all that it starts, can be killed on request.

The host's login shell gets one line, `exec /bin/sh -c LAUNCH …`, quoted so that bash, dash, zsh, csh and fish read
it alike. LAUNCH starts a watchdog (WATCH) in a session of its own, then execs the command in the process that sshd
started, so that exit code and signal are the command's own. The watchdog reads the session's standard input, which
carries the command's input and then the kill request. The command's own input is /dev/null, or a FIFO from the
watchdog. Both scripts report on standard error, in lines that begin with the host's secret; `Reports` removes them.

The command can read the secret in the arguments of its own session. So `Reports` believes the launcher's first report
only, and the watchdog's later ones only with the nonce of our kill request, which only the watchdog has read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sshfan_async.settings import OnStop

__all__ = ["EXIT_SECONDS", "KILL_SLACK", "LATE_REPORT_SECONDS", "REPORT_SECONDS", "Reports", "Wrapper", "new_secret"]

REPORT_SECONDS = 5.0
"""Seconds in which a watchdog reports itself, from the command's acceptance. A login shell can start slowly."""
LATE_REPORT_SECONDS = 1.0
"""Seconds in which a watchdog that has not reported itself does so after a stop."""
KILL_SLACK = 4.0
"""Seconds beyond the grace for the kill request to arrive and for the answer, which comes within 2.8 s of it."""
EXIT_SECONDS = 1.0
"""Seconds for the session to end after the watchdog has killed the command: another process may hold its output."""

# $1 secret, $2 mode, $3 grace in tenths of a second, $4 bytes of standard input or -, $5 WATCH, $6 … the command's
# lines. "$*" joins them with the first character of IFS, a newline: a shell starts with IFS as space, tab and newline
# (POSIX, Shell Command Language, 2.5.3). Printing a newline would cost a fork.
# Under OpenSSH this process leads a process group; under other servers it may not.
# The FIFO is opened before the report is written: writing can fail, and the watchdog waits for the FIFO's reader.
# Names begin with _: assigning to a name from the environment would change the command's environment. The command's
# shell gets the same $0 as from sshd: its name, if PATH leads to it. `command -v` would cost a fork.
_LAUNCH = r"""
_w=unwatched;
_s=;
if command -v setsid >/dev/null 2>&1; then
  kill -0 -$$ 2>/dev/null || _s=setsid;
  case $4 in
    -) _w=watched;;
    *) _d=$(mktemp -d "${TMPDIR:-/tmp}/sshfan.XXXXXXXX" 2>/dev/null) && {
      mkfifo "$_d/stdin" 2>/dev/null && _w=watched || rmdir "$_d"; };;
  esac;
fi;
if [ $_w = watched ]; then
  exec 3<&0;
  (setsid /bin/sh -c "$5" sshfan "$1" "$2" "$3" "$4" $$ "$_d" <&3 3<&- >/dev/null &);
  exec 3<&-;
fi;
case $4 in
  -) exec </dev/null;;
  *) [ $_w = unwatched ] || exec <"$_d/stdin";;
esac;
printf "%s:%s\n" "$1" $_w >&2;
_h=${SHELL:-/bin/sh};
_n=${_h##*/};
_i=$IFS;
IFS=:;
set -f;
for _p in $PATH; do [ -x "${_p:-.}/$_n" ] && break; done;
set +f;
IFS=$_i;
[ "${_p:-.}/$_n" -ef "$_h" ] 2>/dev/null && _h=$_n;
shift 5;
IFS=${IFS#??};
_c="$*";
IFS=$_i;
exec $_s "$_h" -c "$_c"
"""

# $1 secret, $2 mode, $3 grace in tenths of a second, $4 bytes of standard input or -, $5 session, $6 directory.
# /proc/N/stat contains ") STATE PARENT GROUP SESSION " (proc(5)). It is read with grep: a shell reads byte by byte.
_WATCH = r"""
trap "" HUP INT TERM PIPE;
t=$1;
m=$2;
w=$3;
p=$5;
o=;
alive() {
  q=;
  if [ -r /proc/self/stat ] && command -v grep >/dev/null; then
    for f in $(grep -lE "[)] [^ZX] [0-9]+ ($p|[0-9-]+ $p) " /proc/[0-9]*/stat 2>/dev/null); do
      f=${f#/proc/};
      q="$q ${f%/stat}";
    done;
    [ "$q" ] && q=-$p$q;
  else
    kill -0 -$p 2>/dev/null && q=-$p;
  fi;
  [ "$q" ];
};
end() {
  kill -0 $p 2>/dev/null || exit 0;
  alive && { kill -TERM $q; kill -CONT $q; } 2>/dev/null;
  n=0;
  d=1;
  while alive; do
    [ $n -lt $w ] || kill -KILL $q 2>/dev/null;
    [ $n -lt $((w + 20)) ] || { printf "%s:left %s\n" $t $o >&2; exit; };
    if sleep 0.$d 2>/dev/null; then n=$((n + d)); else sleep 1; n=$((n + 10)); fi;
    [ $d -ge 8 ] || d=$((d * 2));
  done;
  printf "%s:ended %s\n" $t $o >&2;
  exit;
};
case $4 in
  -) ;;
  *)
    exec 4>"$6/stdin";
    rm -rf "$6";
    b=;
    if [ $m = always ] && [ $4 -gt 65536 ]; then
      (while sleep 1 2>/dev/null; do printf "%s:there\n" $t >&2 || end; done) 4>&- </dev/null &
      b=$!;
    fi;
    head -c $4 | { cat >&4; cat >/dev/null; } 2>/dev/null;
    exec 4>&-;
    if [ "$b" ]; then
      printf "%s:there\n" $t >&2 || { wait $b; exit; };
      { kill -KILL $b; wait $b; } 2>/dev/null;
    fi;;
esac;
k=;
while read -r l; do case $l in "$t:kill "*) o=${l##* }; k=1; break;; esac; done;
[ $m = always ] && k=1;
[ "$k" ] && end
"""


def new_secret() -> str:
    """Return a random text that marks the report lines of one host."""
    return f"sshfan-{os.urandom(8).hex()}"


class Wrapper:
    """Wraps one command for many hosts, each with a secret of its own."""

    __slots__ = ("_after", "_before")

    def __init__(self, command: str, *, on_stop: OnStop, grace: float, stdin_size: int | None) -> None:
        """`grace`: seconds between TERM and KILL.

        `stdin_size`: the number of bytes of the command's standard input, which follow on the session's; None if the
        command gets none.
        """
        size = "-" if stdin_size is None else str(stdin_size)
        arguments = (on_stop.value, str(round(grace * 10)), size, _one_line(_WATCH), *command.split("\n"))
        self._before = f"exec /bin/sh -c {_quoted(_one_line(_LAUNCH))} {_quoted('sshfan')} "
        self._after = " ".join(["", *map(_quoted, arguments)])

    def text(self, secret: str) -> str:
        """Return the wrapped command, as a line for the host's login shell."""
        return f"{self._before}{_quoted(secret)}{self._after}"


def _one_line(script: str) -> str:
    """Return `script` as one line: csh does not accept a newline inside quotes."""
    return " ".join(line.strip() for line in script.strip().splitlines())


# These are special inside single quotes: ' in all shells, \ in fish, ! in csh. They are put outside, after a \.
_UNSAFE = {ord(character): f"'\\{character}'" for character in "'\\!"}


def _quoted(text: str) -> str:
    """Return `text`, which has no newline, as one quoted word that all shells read alike."""
    return f"'{text.translate(_UNSAFE)}'"


class Reports:
    """Removes the report lines of both scripts from a command's standard error, and keeps what they report.

    A line that is not expected is the command's own, even if it begins with the secret.
    """

    __slots__ = ("_lines", "_mark", "_nonce", "_partial", "ended", "ends_with_input", "left", "secret", "watched")

    def __init__(self, secret: str, *, ends_with_input: bool = False) -> None:
        """`ends_with_input`: the end of the session's input is a kill request too (`on_stop="always"`)."""
        self.secret = secret
        self.ends_with_input = ends_with_input
        self._mark = f"{secret}:".encode("ascii")
        self._nonce = ""
        self._partial = b""
        self.watched: bool | None = None
        """Whether a watchdog runs beside the command; None if the launcher has not reported."""
        self.ended = False
        """Whether the watchdog has killed the command, and all that it found of the command's other processes."""
        self.left = False
        """Whether the watchdog could not kill all of them."""
        self._expect()

    def kill_request(self) -> bytes:
        """Return the line on which the watchdog kills the command. Its answer is believed from now on."""
        if self._nonce == "":
            self._nonce = os.urandom(8).hex()
            self._expect()
        return f"{self.secret}:kill {self._nonce}\n".encode("ascii")

    def feed(self, data: bytes) -> bytes:
        """Return the command's part of `data`. A possible start of a report line is kept for the next call."""
        if self._lines == []:
            return data
        if self._partial:
            data, self._partial = self._partial + data, b""
        own = []
        start = at = 0
        while (at := data.find(self._mark, at)) >= 0:
            line = next((line for line in self._lines if data.startswith(line, at)), None)
            if line is None:
                at += 1
                continue
            own.append(data[start:at])
            start = at = at + len(line)
            self._note(line[len(self._mark) : -1])
        end = self._partial_start(data, start)
        self._partial = data[end:]
        own.append(data[start:end])
        return b"".join(own)

    def flush(self) -> bytes:
        """Return the kept bytes. Call this when standard error has ended."""
        partial, self._partial = self._partial, b""
        return partial

    def _expect(self) -> None:
        states = ["watched", "unwatched"] if self.watched is None else []
        if self.watched is True and self.ends_with_input:
            states.append("there")
        if self._nonce != "":
            states += [f"ended {self._nonce}", f"left {self._nonce}"]
        self._lines = [b"%b%b\n" % (self._mark, state.encode("ascii")) for state in states]

    def _note(self, state: bytes) -> None:
        if state in (b"watched", b"unwatched"):
            self.watched = state == b"watched"
            self._expect()
        elif state.startswith(b"ended "):
            self.ended = True
        elif state.startswith(b"left "):
            self.left = True

    def _partial_start(self, data: bytes, start: int) -> int:
        """Return the offset, at least `start`, of an incomplete report at the end of `data`; else its length."""
        at = max(start, len(data) - max(map(len, self._lines), default=0))
        while at < len(data) and not any(line.startswith(data[at:]) for line in self._lines):
            at += 1
        return at
