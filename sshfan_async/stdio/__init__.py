"""A command's standard input, and the output that it writes. Private."""
