"""What people and programs see of a run: the hosts' output, progress, summary. Private."""
