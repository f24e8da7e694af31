"""Dormice: a sandboxed dynamic-actor host."""

__version__ = "0.1.0"
