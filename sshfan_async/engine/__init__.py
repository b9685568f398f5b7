"""One run: many targets -> one outcome each. Private: use the functions of `sshfan_async`."""
