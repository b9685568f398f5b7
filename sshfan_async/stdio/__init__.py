"""What goes into a command and what comes out of it. Private."""
