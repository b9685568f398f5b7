"""Benchmarks: this package beside its peers in one run. `python -m benchmarks --help` tells how."""
