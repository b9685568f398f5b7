"""What was typed -> a checked `Run`. Private."""
