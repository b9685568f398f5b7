"""`python -m sshfan_async`: the `sshfan` command without its entry point."""

from __future__ import annotations

import sys

from sshfan_async.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
