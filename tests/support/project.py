"""Where the project is, for the processes that tests start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PYTHONPATH = os.pathsep.join(map(os.path.abspath, sys.path))
"""Lets a child process import what this one can, in any working directory."""
