"""What `sshfan help` and the manual page say. Private."""
