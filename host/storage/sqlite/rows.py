"""Between rows and records: the only place that knows the order of the columns."""

from __future__ import annotations

from typing import Any

import msgspec

from host.model.definitions import Definition, DefinitionOptions, Manifest, ModuleRecord
from host.model.errors import ErrorInfo
from host.model.records import ActorRecord, AlarmRow, AttemptRow, ConnectionRow, CronRun, DeadLetter, Repeat
from host.model.report import ModuleReport
from host.storage.creation import check_key
from host.storage.values import pack, unpack

__all__ = [
    "ACTOR",
    "ACTOR_WITHOUT_INPUT",
    "ALARM",
    "ATTEMPT",
    "CONNECTION",
    "CRON_RUN",
    "DEAD_LETTER",
    "DEFINITION",
    "MODULE",
    "Row",
    "actor_record",
    "alarm_params",
    "alarm_row",
    "attempt_row",
    "connection_params",
    "connection_row",
    "cron_run",
    "cron_run_params",
    "dead_letter",
    "dead_letter_params",
    "definition",
    "dump",
    "dump_list",
    "key_text",
    "module_record",
    "module_report",
    "quotas",
]

Row = tuple[Any, ...]

_ACTOR = (
    "actor_id, tenant, name, key, generation, epoch, hop_seq, version, module, created_at, started_once, wake_at, "
    "lifecycle, attempt, retry_at, last_error, started_at, slept_at, kv_bytes, kv_keys, "
    "held_version"
)
ACTOR = f"{_ACTOR}, input"
ACTOR_WITHOUT_INPUT = f"{_ACTOR}, NULL"
ALARM = "alarm_id, scheduled_at, due_at, fire_seq, payload, attempt, faults, repeat"
CRON_RUN = "name, seq, action, scheduled_at, started_at, finished_at, result, attempt, error, number, until"
ATTEMPT = "kind, ref, idx, attempt, faults"
CONNECTION = (
    "conn_id, gateway_id, request_id, generation, msg_index, path, opened_at, last_seen_at, settled_ahead, sent_index, "
    "headers, params, state, tags, subscriptions, hibernatable, session, session_expires_at, sent_bytes, "
    "protocol, auth"
)
DEAD_LETTER = "kind, ref, idx, reason, message, attempts, at, payload"
DEFINITION = "v.tenant, v.name, v.version, v.module, v.created_at, v.options, v.limits, v.status, v.percent, v.reason"
MODULE = "tenant, digest, kind, size, manifest, stored_at, source_url"

_encode = msgspec.json.Encoder().encode
_key = msgspec.json.Decoder(tuple[str, ...]).decode
_texts = _key
_numbers = msgspec.json.Decoder(tuple[int, ...]).decode
_headers = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode
_error = msgspec.json.Decoder(ErrorInfo).decode
_repeat = msgspec.json.Decoder(Repeat).decode
_manifest = msgspec.json.Decoder(Manifest).decode
_report = msgspec.json.Decoder(ModuleReport).decode
_options = msgspec.json.Decoder(DefinitionOptions).decode
_limits = msgspec.json.Decoder(dict[str, int]).decode


def dump(value: object) -> str:
    return _encode(value).decode()


def dump_list(values: tuple[Any, ...]) -> str | None:
    """NULL for the empty list, the usual case."""
    return _encode(values).decode() if values else None


def key_text(key: tuple[str, ...]) -> str:
    """The one spelling of a key; `actor/invalid_request` for text that is not Unicode."""
    check_key(key)
    return _encode(key).decode()


def actor_record(row: Row) -> ActorRecord:
    return ActorRecord(
        actor_id=row[0],
        tenant=row[1],
        name=row[2],
        key=_key(row[3]),
        generation=row[4],
        epoch=row[5],
        hop_seq=row[6],
        version=row[7],
        module=row[8],
        created_at=row[9],
        started_once=bool(row[10]),
        wake_at=row[11],
        lifecycle=row[12],
        attempt=row[13],
        retry_at=row[14],
        last_error=None if row[15] is None else _error(row[15]),
        started_at=row[16],
        slept_at=row[17],
        kv_bytes=row[18],
        kv_keys=row[19],
        held_version=row[20],
        input=unpack(row[21]),
    )


def alarm_row(row: Row) -> AlarmRow:
    repeat = None if row[7] is None else _repeat(row[7])
    return AlarmRow(row[0], row[1], row[2], row[3], unpack(row[4]), row[5], row[6], repeat)


def alarm_params(actor_id: str, alarm: AlarmRow) -> Row:
    return (
        actor_id,
        alarm.alarm_id,
        alarm.scheduled_at,
        alarm.due_at,
        alarm.fire_seq,
        pack(alarm.payload),
        alarm.attempt,
        alarm.faults,
        None if alarm.repeat is None else dump(alarm.repeat),
    )


def cron_run(row: Row) -> CronRun:
    name, seq, action, scheduled_at, started_at, finished_at, result, attempt, error, number, until = row
    return CronRun(
        name, seq, action, scheduled_at, started_at, finished_at, result, attempt,
        None if error is None else _error(error), number, until,
    )  # fmt: skip


def cron_run_params(actor_id: str, run: CronRun) -> Row:
    return (
        actor_id,
        run.name,
        run.seq,
        run.action,
        run.scheduled_at,
        run.started_at,
        run.finished_at,
        run.result,
        run.attempt,
        None if run.error is None else dump(run.error),
        run.number,
        run.until,
    )


def attempt_row(row: Row) -> AttemptRow:
    return AttemptRow(*row)


def connection_row(row: Row) -> ConnectionRow:
    return ConnectionRow(
        conn_id=row[0],
        gateway_id=row[1],
        request_id=row[2],
        generation=row[3],
        msg_index=row[4],
        path=row[5],
        opened_at=row[6],
        last_seen_at=row[7],
        settled_ahead=_numbers(row[8]) if row[8] else (),
        sent_index=row[9],
        headers=_headers(row[10]) if row[10] else (),
        params=unpack(row[11]),
        state=unpack(row[12]),
        tags=_texts(row[13]) if row[13] else (),
        subscriptions=_texts(row[14]) if row[14] else (),
        hibernatable=bool(row[15]),
        session=row[16],
        session_expires_at=row[17],
        sent_bytes=row[18],
        protocol=row[19],
        auth=unpack(row[20]),
    )


def connection_params(actor_id: str, row: ConnectionRow) -> Row:
    return (
        actor_id,
        row.conn_id,
        row.gateway_id,
        row.request_id,
        row.generation,
        row.msg_index,
        row.path,
        row.opened_at,
        row.last_seen_at,
        dump_list(row.settled_ahead),
        row.sent_index,
        dump_list(row.headers),
        pack(row.params),
        pack(row.state),
        dump_list(row.tags),
        dump_list(row.subscriptions),
        row.hibernatable,
        row.session,
        row.session_expires_at,
        row.sent_bytes,
        row.protocol,
        pack(row.auth),
    )


def dead_letter(row: Row) -> DeadLetter:
    return DeadLetter(row[0], row[1], row[2], row[3], row[4], row[5], row[6], unpack(row[7]))


def dead_letter_params(actor_id: str, letter: DeadLetter) -> Row:
    return (
        actor_id,
        letter.kind,
        letter.ref,
        letter.index,
        letter.reason,
        letter.message,
        letter.attempts,
        letter.at,
        pack(letter.payload),
    )


def definition(row: Row) -> Definition:
    return Definition(row[0], row[1], row[2], row[3], row[4], _options(row[5]), _limits(row[6]), row[7], row[8], row[9])


def quotas(text: str) -> dict[str, int]:
    return _limits(text)


def module_record(row: Row) -> ModuleRecord:
    return ModuleRecord(row[0], row[1], row[2], row[3], _manifest(row[4]), row[5], row[6])


def module_report(text: str) -> ModuleReport:
    return _report(text)
