"""Show a run: the hosts' output, the progress display, the summary. Private."""
