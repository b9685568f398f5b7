"""One ssh child, from its arguments to its exit. Private: `engine` and `fleet` use it."""
