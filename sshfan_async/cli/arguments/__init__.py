"""Turn what was typed into a checked `Run`. Private."""
