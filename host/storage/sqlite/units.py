"""Applying commit units, on the writer's thread and inside its transaction: fences first, then rows table by table.

Units of different actors touch different rows, so a statement runs once over the rows of all of them. Units of one
actor do not commute: they go into *waves*, each with at most one unit of an actor, applied one after another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from host.model.effects import ActorChange, CommitUnit
from host.storage.sqlite.bulk import Bulk
from host.storage.sqlite.kv import write_kv
from host.storage.sqlite.rows import (
    Row,
    alarm_params,
    connection_params,
    cron_run_params,
    dead_letter_params,
    dump,
    dump_list,
)
from host.storage.values import pack

__all__ = ["apply_units"]

Fence = tuple[int, int, int]

_FENCE_ONE = "SELECT generation, epoch, hop_seq FROM actors WHERE actor_id = ?"
# One row for all: every step of a statement gives the interpreter lock away and has to win it back.
_FENCE_MANY = (
    "SELECT json_group_array(json_array(actor_id, generation, epoch, hop_seq)) FROM actors "
    "WHERE actor_id IN (SELECT value FROM json_each(?))"
)
_fences = msgspec.json.Decoder(list[tuple[str, int, int, int]]).decode

_STATE = "INSERT INTO state (actor_id, value) VALUES (?, ?) ON CONFLICT (actor_id) DO UPDATE SET value = excluded.value"
_ALARM_GONE = "DELETE FROM alarms WHERE actor_id = ? AND alarm_id = ? AND fire_seq = ?"
_ALARM = (
    "INSERT INTO alarms (actor_id, alarm_id, scheduled_at, due_at, fire_seq, payload, attempt, faults, repeat) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (actor_id, alarm_id) DO UPDATE SET "
    "scheduled_at = excluded.scheduled_at, due_at = excluded.due_at, fire_seq = excluded.fire_seq, "
    "payload = excluded.payload, attempt = excluded.attempt, faults = excluded.faults, repeat = excluded.repeat"
)
_RUNS_TRIMMED = "DELETE FROM cron_runs WHERE actor_id = ? AND name = ? AND seq < ?"
_RUN = (
    "INSERT OR REPLACE INTO cron_runs (actor_id, name, seq, action, scheduled_at, started_at, finished_at, result, "
    "attempt, error, number, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CONNECTION = (
    "INSERT INTO connections (actor_id, conn_id, gateway_id, request_id, generation, msg_index, path, opened_at, "
    "last_seen_at, settled_ahead, sent_index, headers, params, state, tags, subscriptions, hibernatable, session, "
    "session_expires_at, sent_bytes, protocol, auth) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (actor_id, conn_id) DO UPDATE SET "
    "gateway_id = excluded.gateway_id, request_id = excluded.request_id, generation = excluded.generation, "
    "msg_index = excluded.msg_index, path = excluded.path, opened_at = excluded.opened_at, "
    "last_seen_at = excluded.last_seen_at, settled_ahead = excluded.settled_ahead, sent_index = excluded.sent_index, "
    "headers = excluded.headers, params = excluded.params, state = excluded.state, tags = excluded.tags, "
    "subscriptions = excluded.subscriptions, hibernatable = excluded.hibernatable, session = excluded.session, "
    "session_expires_at = excluded.session_expires_at, sent_bytes = excluded.sent_bytes, "
    "protocol = excluded.protocol, auth = excluded.auth"
)
_SENT = "UPDATE connections SET sent_index = ?, sent_bytes = ? WHERE actor_id = ? AND conn_id = ?"
# A frame of a connection that has no row belongs to nobody who could ask for it.
_OUTBOX = (
    "INSERT INTO outbox (actor_id, conn_id, idx, start, size, frame) SELECT ?1, ?2, ?3, ?4, ?5, ?6 "
    "WHERE EXISTS (SELECT 1 FROM connections WHERE actor_id = ?1 AND conn_id = ?2)"
)
# Reads no further than what goes: both numbers rise with the index.
_OUTBOX_TRIM = (
    "DELETE FROM outbox WHERE actor_id = ?1 AND conn_id = ?2 AND idx < coalesce((SELECT idx FROM outbox "
    "WHERE actor_id = ?1 AND conn_id = ?2 AND idx >= ?3 AND start >= ?4 ORDER BY idx LIMIT 1), 9223372036854775807)"
)
_OUTBOX_GONE = "DELETE FROM outbox WHERE actor_id = ? AND conn_id = ?"
# These two run for nearly every unit, so they take many rows in a step.
_INDEX = Bulk(
    "WITH moved (actor_id, conn_id, msg_index, settled_ahead, last_seen_at) AS (VALUES",
    "(?, ?, ?, ?, ?)",
    ") UPDATE connections SET msg_index = moved.msg_index, settled_ahead = moved.settled_ahead, "
    "last_seen_at = moved.last_seen_at FROM moved "
    "WHERE connections.actor_id = moved.actor_id AND connections.conn_id = moved.conn_id",
)
_FENCE = Bulk(
    "WITH moved (actor_id, epoch, hop_seq) AS (VALUES",
    "(?, ?, ?)",
    ") UPDATE actors SET epoch = moved.epoch, hop_seq = moved.hop_seq FROM moved "
    "WHERE actors.actor_id = moved.actor_id",
)
_CONNECTION_GONE = "DELETE FROM connections WHERE actor_id = ? AND conn_id = ?"
_ATTEMPT = (
    "INSERT INTO events (actor_id, kind, ref, idx, attempt, faults) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (actor_id, kind, ref, idx) DO UPDATE SET attempt = excluded.attempt, faults = excluded.faults"
)
_ATTEMPT_GONE = "DELETE FROM events WHERE actor_id = ? AND kind = ? AND ref = ? AND idx = ?"
_DEAD_LETTER = (
    "INSERT INTO dead_letters (actor_id, kind, ref, idx, reason, message, attempts, at, payload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LETTERS_DROPPED = (
    "DELETE FROM dead_letters WHERE seq IN (SELECT seq FROM dead_letters WHERE actor_id = ? ORDER BY seq LIMIT ?)"
)
_SESSION_ENDED = (
    "INSERT INTO ended_sessions (actor_id, session, at) VALUES (?, ?, ?) "
    "ON CONFLICT (actor_id, session) DO UPDATE SET at = excluded.at"
)
_SESSIONS_FORGOTTEN = (
    "DELETE FROM ended_sessions WHERE actor_id = ?1 AND at < max(?2, coalesce((SELECT at + 1 FROM ended_sessions "
    "WHERE actor_id = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?3), ?2))"
)
# A destroy that has begun is not taken back by what the actor still writes.
_WAKE = "UPDATE actors SET wake_at = ? WHERE actor_id = ? AND lifecycle <> 'destroying'"
_CHANGE = (
    "UPDATE actors SET lifecycle = CASE lifecycle WHEN 'destroying' THEN lifecycle ELSE ? END, "
    "attempt = ?, retry_at = ?, last_error = ?, started_once = ?, version = ?, "
    "module = ?, started_at = ?, slept_at = ?, input = CASE WHEN ? THEN NULL ELSE input END, held_version = ? "
    "WHERE actor_id = ?"
)

# As `CommitUnit` says: KV comes before these, the connections' indexes between them, the actor's row after them.
_BEFORE_INDEXES = (_STATE, _ALARM_GONE, _ALARM, _RUNS_TRIMMED, _RUN, _CONNECTION, _OUTBOX, _SENT, _OUTBOX_TRIM)
_AFTER_INDEXES = (
    _CONNECTION_GONE,
    _OUTBOX_GONE,
    _SESSION_ENDED,
    _SESSIONS_FORGOTTEN,
    _ATTEMPT,
    _ATTEMPT_GONE,
    _DEAD_LETTER,
    _LETTERS_DROPPED,
    _WAKE,
    _CHANGE,
)


def apply_units(conn: sqlite3.Connection, units: Sequence[CommitUnit]) -> list[bool]:
    """Which of the units applied; the others were fenced and left nothing."""
    fences = _read_fences(conn, units)
    waves: list[list[CommitUnit]] = []
    units_of: dict[str, int] = {}
    applied: list[bool] = []
    for unit in units:
        fence = fences.get(unit.actor_id)
        fits = fence is not None and _fits(unit, fence)
        applied.append(fits)
        if not fits:
            continue
        fences[unit.actor_id] = (unit.generation, unit.epoch, unit.hop_seq)
        wave = units_of.get(unit.actor_id, 0)
        units_of[unit.actor_id] = wave + 1
        if wave == len(waves):
            waves.append([])
        waves[wave].append(unit)
    for units_of_wave in waves:
        _apply_wave(conn, units_of_wave)
    return applied


def _read_fences(conn: sqlite3.Connection, units: Sequence[CommitUnit]) -> dict[str, Fence]:
    if len(units) == 1:
        actor_id = units[0].actor_id
        row: Fence | None = conn.execute(_FENCE_ONE, (actor_id,)).fetchone()
        return {} if row is None else {actor_id: row}
    actors = {unit.actor_id for unit in units}
    (text,) = conn.execute(_FENCE_MANY, (dump(list(actors)),)).fetchone()
    return {actor_id: (generation, epoch, hop_seq) for actor_id, generation, epoch, hop_seq in _fences(text)}


def _fits(unit: CommitUnit, stored: Fence) -> bool:
    """The fence (D8): generation, epoch and hop_seq, as they are inside the transaction that writes."""
    generation, epoch, hop_seq = stored
    if unit.generation != generation or unit.hop_seq != hop_seq + 1:
        return False
    return epoch < unit.epoch if unit.claims else epoch == unit.epoch


def _apply_wave(conn: sqlite3.Connection, units: Sequence[CommitUnit]) -> None:
    """Units of different actors. The order of the tables is the order within a unit."""
    write_kv(conn, [(unit.actor_id, unit.kv) for unit in units if unit.kv])
    batches: dict[str, list[Row]] = {}
    for unit in units:
        _collect(unit, batches)
    for statement in _BEFORE_INDEXES:
        if statement in batches:
            conn.executemany(statement, batches[statement])
    _INDEX.run(conn, [row for unit in units if unit.indexes for row in _index_rows(unit)])
    for statement in _AFTER_INDEXES:
        if statement in batches:
            conn.executemany(statement, batches[statement])
    _FENCE.run(conn, [(unit.actor_id, unit.epoch, unit.hop_seq) for unit in units])


def _index_rows(unit: CommitUnit) -> Iterable[Row]:
    """One row a connection, its last: the statement sets each connection once."""
    rows = {
        index.conn_id: (
            unit.actor_id,
            index.conn_id,
            index.msg_index,
            dump_list(index.settled_ahead),
            index.last_seen_at,
        )
        for index in unit.indexes
    }
    return rows.values()


def _collect(unit: CommitUnit, batches: dict[str, list[Row]]) -> None:
    """The rows of everything but KV, indexes and fence, by statement."""
    actor = unit.actor_id

    def add(statement: str, rows: Iterable[Row]) -> None:
        batches.setdefault(statement, []).extend(rows)

    if unit.state is not None:
        add(_STATE, [(actor, pack(unit.state))])
    if unit.alarms_gone:
        add(_ALARM_GONE, ((actor, *gone) for gone in unit.alarms_gone))
    if unit.alarms:
        add(_ALARM, (alarm_params(actor, alarm) for alarm in unit.alarms))
    if unit.runs_trimmed:
        add(_RUNS_TRIMMED, ((actor, *trimmed) for trimmed in unit.runs_trimmed))
    if unit.runs:
        add(_RUN, (cron_run_params(actor, run) for run in unit.runs))
    if unit.connections:
        add(_CONNECTION, (connection_params(actor, row) for row in unit.connections))
    if unit.outbox:
        add(_OUTBOX, ((actor, one.conn_id, one.index, one.start, one.size, one.data) for one in unit.outbox))
        last = {one.conn_id: one for one in unit.outbox}
        add(_SENT, ((one.index, one.start + one.size, actor, one.conn_id) for one in last.values()))
    if unit.outbox_trims:
        add(_OUTBOX_TRIM, ((actor, trim.conn_id, trim.index, trim.start) for trim in unit.outbox_trims))
    if unit.connections_gone:
        add(_CONNECTION_GONE, ((actor, conn_id) for conn_id in unit.connections_gone))
        add(_OUTBOX_GONE, ((actor, conn_id) for conn_id in unit.connections_gone))
    ended = unit.ended_sessions
    if ended is not None:
        add(_SESSION_ENDED, ((actor, session, ended.at) for session in ended.sessions))
        add(_SESSIONS_FORGOTTEN, [(actor, ended.before, ended.keep)])
    if unit.attempts:
        add(_ATTEMPT, ((actor, row.kind, row.ref, row.index, row.attempt, row.faults) for row in unit.attempts))
    if unit.attempts_gone:
        add(_ATTEMPT_GONE, ((actor, *gone) for gone in unit.attempts_gone))
    if unit.dead_letters:
        add(_DEAD_LETTER, (dead_letter_params(actor, letter) for letter in unit.dead_letters))
    if unit.dead_letters_dropped:
        add(_LETTERS_DROPPED, [(actor, unit.dead_letters_dropped)])
    if unit.alarms or unit.alarms_gone or unit.claims:
        add(_WAKE, [(unit.wake_at, actor)])
    if unit.actor is not None:
        add(_CHANGE, [_change_params(actor, unit.actor)])


def _change_params(actor_id: str, change: ActorChange) -> Row:
    return (
        change.lifecycle,
        change.attempt,
        change.retry_at,
        None if change.last_error is None else dump(change.last_error),
        change.started_once,
        change.version,
        change.module,
        change.started_at,
        change.slept_at,
        change.drop_input,
        change.held_version,
        actor_id,
    )
