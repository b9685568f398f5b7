"""Benchmarks of sshfan and its peers. Run `python -m benchmarks --help` for usage."""
