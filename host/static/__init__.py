"""Actors written as Python classes that run in the host's own process: trusted code, the same turns and effects."""
