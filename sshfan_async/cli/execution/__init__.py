"""Execute a run: its thread, signals, batches, and the files it writes. Private."""
