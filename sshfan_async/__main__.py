"""Run the `sshfan` command as `python -m sshfan_async`."""

from __future__ import annotations

import sys

from sshfan_async.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
