"""Rows, entries and ledgers for tests of single parts."""

from __future__ import annotations

from typing import Any

from host.actor.entries import Entry, Kind
from host.actor.ledger import Ledger
from host.model.records import ActorImage, ActorRecord, AlarmRow, AttemptRow, ConnectionRow
from host.model.tunnel import Opened, SocketClosed, SocketMessage

__all__ = ["ACTOR", "alarm", "closed", "connection", "image", "ledger", "message", "opened"]

ACTOR = "a" * 32


def record(**more: Any) -> ActorRecord:
    return ActorRecord(
        actor_id=ACTOR,
        tenant="t",
        name="n",
        key=("k",),
        generation=3,
        epoch=6,
        hop_seq=40,
        version=1,
        module="m",
        created_at=0,
        **more,
    )


def connection(conn: str, msg_index: int = 0, **more: Any) -> ConnectionRow:
    return ConnectionRow(conn, "g", "r", 3, msg_index, "/", 0, 0, **more)


def alarm(alarm_id: str, fire_seq: int = 1, *, due_at: int = 1_000, **more: Any) -> AlarmRow:
    return AlarmRow(alarm_id, 1_000, due_at, fire_seq, b"null", **more)


def image(
    *connections: ConnectionRow, alarms: tuple[AlarmRow, ...] = (), attempts: tuple[AttemptRow, ...] = ()
) -> ActorImage:
    return ActorImage(record(), None, alarms, connections, attempts)


def ledger(
    *connections: ConnectionRow, alarms: tuple[AlarmRow, ...] = (), attempts: tuple[AttemptRow, ...] = ()
) -> Ledger:
    """Hydrated, with its epoch claimed by a first unit."""
    made = Ledger(image(*connections, alarms=alarms, attempts=attempts), epoch=7)
    made.take_unit(0)
    return made


def message(conn: str, index: int, data: str = "x") -> Entry:
    return Entry(Kind.MESSAGE, SocketMessage(ACTOR, conn, index, data), line=conn)


def opened(conn: str) -> Entry:
    return Entry(Kind.OPENED, Opened(ACTOR, conn, "g", "r", "/", (), None, 0), line=conn)


def closed(conn: str) -> Entry:
    return Entry(Kind.CLOSED, SocketClosed(ACTOR, conn, 1000, "", True), line=conn)
