"""One run in front of a person, a pipe or a program. Private."""
