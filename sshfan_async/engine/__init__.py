"""Run one command on many targets, with one outcome each. Private: use the functions of `sshfan_async`."""
