"""The verbs of `sshfan`. Each verb's module has a click command named `command`. Private."""
