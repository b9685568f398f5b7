"""The `sshfan` command line. Its entry point is `main.main`; each verb is a module in `verbs`.

Modules that load before the command line is parsed import neither the engine nor rich, so that `sshfan --help` and
usage errors appear at once.
"""
