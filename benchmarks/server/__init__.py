"""A server on which hosts cost nothing, and a fleet of host names for it."""
