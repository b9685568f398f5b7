"""The text of `sshfan help` and of the man page. Private."""
