"""What is measured, each in an interpreter of its own; `benchmarks.contenders` runs them."""
