"""Many rows in few steps.

sqlite3 gives the interpreter lock away at every step of a statement and has to win it back, which costs up to a switch
interval (5 ms) each time while the event loop is busy. `executemany` steps once a row. A `VALUES` list of many rows
steps once for all of them; a few fixed list lengths keep the number of prepared statements small.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

from host.storage.sqlite.rows import Row

__all__ = ["Bulk"]

_LENGTHS = (64, 32, 16, 8, 4, 2, 1)


class Bulk:
    """`head row, row, … tail` as one statement for each of the lengths."""

    __slots__ = ("_statements",)

    def __init__(self, head: str, row: str, tail: str = "") -> None:
        self._statements = tuple((length, f"{head} {', '.join([row] * length)} {tail}".rstrip()) for length in _LENGTHS)

    def run(self, conn: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Writes the rows in order."""
        at = 0
        for length, statement in self._statements:
            while len(rows) - at >= length:
                conn.execute(statement, tuple(chain.from_iterable(rows[at : at + length])))
                at += length
