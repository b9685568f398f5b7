"""The entry point of `sshfan` and of `python -m sshfan_async`: load the command line, and run it."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line, and end the process with its exit code; return the code only if that fails."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Nothing runs yet: Ctrl-C ends the process, without a traceback of imports.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sshfan_async.cli.execution.own_process import end, keep_garbage

    keep_garbage()
    from sshfan_async.cli.main import main

    code = main()
    end(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
