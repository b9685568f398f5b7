"""The contenders. `python -m benchmarks.contenders` runs one of them in a fresh interpreter."""
