"""The remote side of `on_stop`: a command, wrapped so that all it starts can be ended on our word.

What the host's login shell gets is one `exec /bin/sh -c LAUNCH …`, in characters that bash, dash, zsh, csh and fish
read alike. LAUNCH starts a watchdog beside the session (setsid(1)) and then becomes the command: `$SHELL -c COMMAND`
in the very process that sshd made, so that exit code and death by signal are the command's own. The watchdog reads
the session's standard input, through which our word comes, and ends with it. The command's own standard input is
/dev/null, or a FIFO into which the watchdog passes the bytes that were given.

While the command leaves more of those unread than pipes hold, our word cannot come through. All that a watchdog then
sees of us is whether the connection stands: it writes a line each second, and ends a command whose input was cut off.

Both tell us what they do, in lines on standard error that begin with the run's secret; `Reports` takes those out.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sshfan_async.settings import OnStop

__all__ = ["Reports", "kill_message", "new_secret", "wrap"]

# $1 secret, $2 mode, $3 grace in tenths of a second, $4 bytes of standard input or -, $5 WATCH, $6 … the command's
# lines. A shell begins with IFS as space, tab and newline (POSIX, Shell Command Language, 2.5.3), and "$*" joins with
# the first character of IFS: a newline costs no fork this way, as printf's would.
# OpenSSH made us the leader of a session, and so of a process group; other servers may not have.
# The FIFO is opened before the report is written: nobody may read that any more, and the watchdog waits for a reader.
# Names begin with _, for what the environment has would change with the variable. The shell gets $0 as from sshd.
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
[ "$(command -v "$_n")" -ef "$_h" ] 2>/dev/null && _h=$_n;
shift 5;
_i=$IFS;
IFS=${IFS#??};
_c="$*";
IFS=$_i;
exec $_s "$_h" -c "$_c"
"""

# $1 secret, $2 mode, $3 grace in tenths of a second, $4 bytes of standard input or -, $5 session, $6 directory.
# /proc/N/stat has ") STATE PARENT GROUP SESSION " (proc(5)); grep, for a shell reads byte by byte.
_WATCH = r"""
trap "" HUP INT TERM PIPE;
t=$1;
m=$2;
w=$3;
p=$5;
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
    [ $n -lt $((w + 20)) ] || { printf "%s:left\n" $t >&2; exit; };
    if sleep 0.$d 2>/dev/null; then n=$((n + d)); else sleep 1; n=$((n + 10)); fi;
    [ $d -ge 8 ] || d=$((d * 2));
  done;
  printf "%s:ended\n" $t >&2;
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
while read -r l; do [ "$l" = "$t:kill" ] && k=1 && break; done;
[ $m = always ] && k=1;
[ "$k" ] && end
"""


def new_secret() -> str:
    """Return what tells one run's lines from all that a command may write."""
    return f"sshfan-{secrets.token_hex(8)}"


def kill_message(secret: str) -> bytes:
    """Return the word on which the watchdog ends the command."""
    return f"{secret}:kill\n".encode("ascii")


def wrap(command: str, *, secret: str, on_stop: OnStop, grace: float, stdin_size: int | None) -> str:
    """Return what the login shell gets in place of `command`.

    `grace`: seconds between TERM and KILL. `stdin_size`: the bytes that follow on the session's standard input, None
    where the command gets none.
    """
    size = "-" if stdin_size is None else str(stdin_size)
    arguments = (secret, on_stop.value, str(round(grace * 10)), size, _one_line(_WATCH), *command.split("\n"))
    return " ".join(["exec /bin/sh -c", *map(_quoted, (_one_line(_LAUNCH), "sshfan", *arguments))])


def _one_line(script: str) -> str:
    """Return `script` on one line: csh takes no newline inside quotes."""
    return " ".join(line.strip() for line in script.strip().splitlines())


# What single quotes do not keep in every login shell (', in fish \, in csh !) stands outside them, behind a \.
_UNSAFE = {ord(character): f"'\\{character}'" for character in "'\\!"}


def _quoted(text: str) -> str:
    """Return `text`, which has no newline, as one word that all shells read alike."""
    return f"'{text.translate(_UNSAFE)}'"


_WORDS = ("watched", "unwatched", "there", "ended", "left")


class Reports:
    """Takes the launcher's and the watchdog's lines out of a command's standard error."""

    __slots__ = ("_held", "_lines", "_pattern", "ended", "left", "secret", "watched")

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self._lines = [f"{secret}:{word}\n".encode("ascii") for word in _WORDS]
        self._pattern = re.compile(rb"%b:(%b)\n" % (secret.encode("ascii"), "|".join(_WORDS).encode("ascii")))
        self._held = b""
        self.watched: bool | None = None
        """Whether a watchdog stands beside the command; None until the launcher tells, if it ever does."""
        self.ended = False
        """The watchdog ended the command and all that it saw of what the command had started."""
        self.left = False
        """The watchdog could not end all of it."""

    def feed(self, data: bytes) -> bytes:
        """Return the command's own part of `data`; what may begin a report is held until the rest comes."""
        if self._held:
            data, self._held = self._held + data, b""
        own = []
        start = 0
        for found in self._pattern.finditer(data):
            own.append(data[start : found.start()])
            self._note(found[1])
            start = found.end()
        end = self._begun(data, start)
        self._held = data[end:]
        own.append(data[start:end])
        return b"".join(own)

    def flush(self) -> bytes:
        """Return what was held: standard error has ended."""
        held, self._held = self._held, b""
        return held

    def _note(self, word: bytes) -> None:
        if word in (b"watched", b"unwatched"):
            self.watched = word == b"watched"
        elif word == b"ended":
            self.ended = True
        elif word == b"left":
            self.left = True

    def _begun(self, data: bytes, start: int) -> int:
        """Return where at the end of `data`, from `start` on, a report begins; its length where none does."""
        at = max(start, len(data) - max(map(len, self._lines)))
        while (at := data.find(self._lines[0][:1], at)) >= 0:
            if any(line.startswith(data[at:]) for line in self._lines):
                return at
            at += 1
        return len(data)
