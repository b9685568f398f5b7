"""The `sshfan` command: `main` is its entry point, every verb a module of its own.

Modules that are imported before the command line is parsed import neither the engine nor rich: `sshfan --help` and
its errors are to be there at once.
"""
