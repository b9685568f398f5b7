"""The harness: it measures runs in rounds, and prints and draws the figures."""
