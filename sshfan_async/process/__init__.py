"""One ssh child process, from its arguments to its exit. Private."""
