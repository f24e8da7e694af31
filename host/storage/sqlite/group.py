"""One group: many pieces of work, one transaction, one fsync. Runs on the writer's thread in one trip.

* A unit whose fence does not match is left out; the others apply.
* A failure of the disk before COMMIT rolls everything back and every piece ends `storage/unavailable`.
* A failure that is one piece's own (a number too large to store) must not hurt the others: the group is rolled back and
  its pieces run again, each in a transaction of its own.
* A failure in COMMIT, or in the rollback, is CommitUnknown: it is raised, and the writer refuses all further work.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from host.model.effects import CommitUnit
from host.storage.driver import CommitUnknown, Fenced
from host.storage.sqlite.failures import is_the_works_own, unavailable, works_own
from host.storage.sqlite.units import apply_units

__all__ = ["Group", "Job", "Work"]

Job = Callable[[sqlite3.Connection], Any]
Work = CommitUnit | Job


class Group:
    """Call it with the writer's connection. The result holds, for each piece, what it returned or how it failed."""

    __slots__ = ("_works",)

    def __init__(self, works: Sequence[Work]) -> None:
        self._works = works

    def __call__(self, conn: sqlite3.Connection) -> list[Any]:
        return _run(conn, self._works)


def _run(conn: sqlite3.Connection, works: Sequence[Work]) -> list[Any]:
    try:
        conn.execute("BEGIN IMMEDIATE")
        results = _apply(conn, works)
    except Exception as error:  # noqa: BLE001 - everyone who waits is told; see below
        _roll_back(conn, error)
        if not is_the_works_own(error):
            return [unavailable(error) for _ in works]
        if len(works) == 1:
            return [works_own(error)]
        return [_run(conn, [work])[0] for work in works]
    try:
        conn.execute("COMMIT")
    except sqlite3.Error as error:
        raise CommitUnknown(f"COMMIT failed: {error}; what is on disk is unknown until it is opened again") from error
    return results


def _apply(conn: sqlite3.Connection, works: Sequence[Work]) -> list[Any]:
    """In order; units that stand next to each other are written together."""
    results: list[Any] = []
    units: list[CommitUnit] = []
    for work in works:
        if isinstance(work, CommitUnit):
            units.append(work)
        else:
            results.extend(_apply_run(conn, units))
            units = []
            results.append(work(conn))
    results.extend(_apply_run(conn, units))
    return results


def _apply_run(conn: sqlite3.Connection, units: Sequence[CommitUnit]) -> list[Fenced | None]:
    if not units:
        return []
    applied = apply_units(conn, units)
    return [None if fits else Fenced(unit.actor_id) for unit, fits in zip(units, applied, strict=True)]


def _roll_back(conn: sqlite3.Connection, cause: Exception) -> None:
    # After some errors (full, I/O) SQLite has rolled back by itself.
    if not conn.in_transaction:
        return
    try:
        conn.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise CommitUnknown(f"ROLLBACK failed: {error}, after: {cause}") from error
