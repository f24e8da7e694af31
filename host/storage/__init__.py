"""Durable truth: the driver protocol (`driver`), the model in memory (`memory`) and SQLite (`sqlite`).

Nothing is imported here, so that a layer that only wants the protocol does not load a database.
"""
