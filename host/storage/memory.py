"""The driver in memory: the model that every other driver is compared with.

It guarantees the semantics of `driver.Driver` in the plainest way that can be read and believed: dictionaries, sorted
when asked, one unit at a time. Nothing survives the process. A test can make it fail as a disk would (`fail_next`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import anyio.lowlevel
from msgspec.structs import replace

from host.model.definitions import Definition, DefinitionOptions, DeployFailure, DeployStatus, ModuleRecord
from host.model.effects import CommitUnit, EndedSessions, KvDelete, KvPut, OutboxFrame
from host.model.errors import InternalError, UnavailableError
from host.model.identity import TokenRow
from host.model.ports import StateReader
from host.model.records import ActorImage, ActorRecord, AlarmRow, AttemptRow, ConnectionRow, CronRun, DeadLetter
from host.model.report import ModuleReport
from host.storage.creation import check_key, new_record
from host.storage.cursor import check_limit, decode_cursor, encode_cursor
from host.storage.driver import KEPT_FAILURES, KEPT_VERSIONS, ActorPage, CommitUnknown, CreateActor, Fenced, Outbox

__all__ = ["MemoryDriver"]


@dataclass(slots=True)
class _Actor:
    record: ActorRecord
    kv: dict[bytes, bytes] = field(default_factory=dict)
    state: bytes | None = None
    alarms: dict[str, AlarmRow] = field(default_factory=dict)
    runs: dict[tuple[str, int], CronRun] = field(default_factory=dict)
    connections: dict[str, ConnectionRow] = field(default_factory=dict)
    outboxes: dict[str, dict[int, OutboxFrame]] = field(default_factory=dict)
    attempts: dict[tuple[str, str, int], AttemptRow] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    ended_sessions: dict[bytes, int] = field(default_factory=dict)

    def kv_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in list(self.kv.items()))

    def as_record(self) -> ActorRecord:
        return replace(self.record, kv_bytes=self.kv_bytes(), kv_keys=len(self.kv))

    @property
    def destroying(self) -> bool:
        """Its destroy has begun, which nothing it still writes takes back."""
        return self.record.lifecycle == "destroying"

    def fits(self, unit: CommitUnit) -> bool:
        """The fence (D8)."""
        stored = self.record
        if unit.generation != stored.generation or unit.hop_seq != stored.hop_seq + 1:
            return False
        return stored.epoch < unit.epoch if unit.claims else stored.epoch == unit.epoch

    def apply(self, unit: CommitUnit) -> None:
        for op in unit.kv:
            if isinstance(op, KvPut):
                self.kv[op.key] = op.value
            elif isinstance(op, KvDelete):
                self.kv.pop(op.key, None)
            else:
                for key in [key for key in self.kv if op.start <= key and (op.end is None or key < op.end)]:
                    del self.kv[key]
        if unit.state is not None:
            self.state = unit.state
        for alarm_id, fire_seq in unit.alarms_gone:
            if alarm_id in self.alarms and self.alarms[alarm_id].fire_seq == fire_seq:
                del self.alarms[alarm_id]
        for alarm in unit.alarms:
            self.alarms[alarm.alarm_id] = alarm
        for cron, below in unit.runs_trimmed:
            self.runs = {place: run for place, run in self.runs.items() if place[0] != cron or place[1] >= below}
        for run in unit.runs:
            self.runs[(run.name, run.seq)] = run
        for row in unit.connections:
            self.connections[row.conn_id] = row
        self.apply_outbox(unit)
        for index in unit.indexes:
            if index.conn_id in self.connections:
                self.connections[index.conn_id] = replace(
                    self.connections[index.conn_id],
                    msg_index=index.msg_index,
                    settled_ahead=index.settled_ahead,
                    last_seen_at=index.last_seen_at,
                )
        for conn_id in unit.connections_gone:
            self.connections.pop(conn_id, None)
            self.outboxes.pop(conn_id, None)
        for attempt in unit.attempts:
            self.attempts[(attempt.kind, attempt.ref, attempt.index)] = attempt
        for gone in unit.attempts_gone:
            self.attempts.pop(gone, None)
        if unit.ended_sessions is not None:
            self.end_sessions(unit.ended_sessions)
        self.dead_letters.extend(unit.dead_letters)
        del self.dead_letters[: unit.dead_letters_dropped]
        self.record = replace(self.record, epoch=unit.epoch, hop_seq=unit.hop_seq)
        if (unit.alarms or unit.alarms_gone or unit.claims) and not self.destroying:
            self.record = replace(self.record, wake_at=unit.wake_at)
        if unit.actor is not None:
            change = unit.actor
            self.record = replace(
                self.record,
                lifecycle="destroying" if self.destroying else change.lifecycle,
                attempt=change.attempt,
                retry_at=change.retry_at,
                last_error=change.last_error,
                started_once=change.started_once,
                version=change.version,
                module=change.module,
                started_at=change.started_at,
                slept_at=change.slept_at,
                input=None if change.drop_input else self.record.input,
                held_version=change.held_version,
            )

    def end_sessions(self, ended: EndedSessions) -> None:
        self.ended_sessions.update(dict.fromkeys(ended.sessions, ended.at))
        times = sorted(self.ended_sessions.values(), reverse=True)
        before = max(ended.before, times[ended.keep] + 1) if len(times) > ended.keep else ended.before
        self.ended_sessions = {session: at for session, at in self.ended_sessions.items() if at >= before}

    def apply_outbox(self, unit: CommitUnit) -> None:
        for frame in unit.outbox:
            owner = self.connections.get(frame.conn_id)
            if owner is None:
                continue
            self.outboxes.setdefault(frame.conn_id, {})[frame.index] = frame
            self.connections[frame.conn_id] = replace(
                owner, sent_index=frame.index, sent_bytes=frame.start + frame.size
            )
        for trim in unit.outbox_trims:
            frames = self.outboxes.get(trim.conn_id, {})
            for frame in [one for one in frames.values() if one.index < trim.index or one.start < trim.start]:
                del frames[frame.index]


def _valid(row: TokenRow, now: int) -> bool:
    return row.expires_at is None or row.expires_at > now


class MemoryDriver:
    """See `host.storage.driver.Driver`."""

    def __init__(self) -> None:
        self._actors: dict[str, _Actor] = {}
        self._keys: dict[tuple[str, str, tuple[str, ...]], tuple[str | None, int]] = {}
        self._modules: dict[tuple[str, str], ModuleRecord] = {}
        self._reports: dict[tuple[str, str], ModuleReport] = {}
        self._blobs: dict[str, bytes] = {}
        self._definitions: dict[tuple[str, str], list[Definition]] = {}
        self._deploy_failures: dict[tuple[str, str, int, str], DeployFailure] = {}
        self._quotas: dict[str, dict[str, int]] = {}
        self._tokens: dict[bytes, TokenRow] = {}
        self._failures: list[Literal["unavailable", "unknown"]] = []
        self._unknown = False

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    def fail_next(self, how: Literal["unavailable", "unknown"], writes: int = 1) -> None:
        """The next `writes` writes fail and change nothing: `unavailable` is a failure before COMMIT, `unknown` one
        in COMMIT, after which the driver refuses everything."""
        self._failures.extend([how] * writes)

    # actors ----------------------------------------------------------------------------------------------------------

    async def get_or_create(self, wanted: CreateActor) -> tuple[ActorRecord, bool]:
        found = await self.find(wanted.tenant, wanted.name, wanted.key)
        if found is not None:
            return found, False
        await self._write()
        place = (wanted.tenant, wanted.name, wanted.key)
        actor_id, generation = self._keys.get(place, (None, 0))
        if actor_id is not None:
            return self._actors[actor_id].as_record(), False
        if wanted.actor_id in self._actors:
            raise InternalError(f"actor id {wanted.actor_id} is already used")
        actor = _Actor(new_record(wanted, generation + 1))
        self._keys[place] = (wanted.actor_id, generation + 1)
        self._actors[wanted.actor_id] = actor
        return actor.as_record(), True

    async def find(self, tenant: str, name: str, key: tuple[str, ...]) -> ActorRecord | None:
        await self._read()
        check_key(key)
        actor_id, _ = self._keys.get((tenant, name, key), (None, 0))
        return None if actor_id is None else self._actors[actor_id].as_record()

    async def get_actor(self, actor_id: str) -> ActorRecord | None:
        await self._read()
        actor = self._live().get(actor_id)
        return None if actor is None else actor.as_record()

    async def list_actors(
        self, tenant: str, name: str | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> ActorPage:
        await self._read()
        check_limit(limit)
        before = None if cursor is None else decode_cursor(cursor)
        found = sorted(
            (
                (actor.record.created_at, actor_id)
                for actor_id, actor in self._live().items()
                if actor.record.tenant == tenant and name in (None, actor.record.name)
            ),
            reverse=True,
        )
        rest = [place for place in found if before is None or place < before]
        page = rest[:limit]
        return ActorPage(
            tuple(replace(self._actors[actor_id].as_record(), input=None) for _, actor_id in page),
            encode_cursor(*page[-1]) if len(rest) > limit else None,
        )

    async def actor_names(self, tenant: str) -> tuple[str, ...]:
        await self._read()
        return tuple(sorted({actor.record.name for actor in self._live().values() if actor.record.tenant == tenant}))

    async def hydrate(self, actor_id: str, *, destroying: bool = False) -> ActorImage | None:
        await self._read()
        actor = (self._actors if destroying else self._live()).get(actor_id)
        if actor is None:
            return None
        return ActorImage(
            record=actor.as_record(),
            state=actor.state,
            alarms=tuple(sorted(actor.alarms.values(), key=lambda alarm: (alarm.due_at, alarm.alarm_id))),
            connections=tuple(actor.connections[conn_id] for conn_id in sorted(actor.connections)),
            attempts=tuple(actor.attempts[place] for place in sorted(actor.attempts)),
            letters=len(actor.dead_letters),
            runs=tuple(actor.runs[place] for place in sorted(actor.runs)),
        )

    async def commit(self, unit: CommitUnit) -> None:
        await self._write()
        actor = self._actors.get(unit.actor_id)
        if actor is None or not actor.fits(unit):
            raise Fenced(unit.actor_id)
        actor.apply(unit)

    async def begin_destroy(self, actor_id: str) -> ActorRecord | None:
        await self._write()
        actor = self._live().get(actor_id)
        if actor is None:
            return None
        was = actor.as_record()
        self._bury(actor.record)
        actor.connections.clear()
        actor.outboxes.clear()
        actor.record = replace(actor.record, lifecycle="destroying", wake_at=None)
        return was

    async def finish_destroy(self, actor_id: str) -> bool:
        await self._write()
        actor = self._actors.pop(actor_id, None)
        if actor is None:
            return False
        self._deploy_failures = {key: each for key, each in self._deploy_failures.items() if key[3] != actor_id}
        self._bury(actor.record)
        return True

    async def destroying(self, limit: int) -> Sequence[str]:
        await self._read()
        return [actor_id for actor_id, actor in self._actors.items() if actor.destroying][: max(0, limit)]

    def _live(self) -> dict[str, _Actor]:
        return {actor_id: actor for actor_id, actor in self._actors.items() if not actor.destroying}

    def _bury(self, record: ActorRecord) -> None:
        """The key keeps its generation; it may have another actor by now."""
        place = (record.tenant, record.name, record.key)
        if self._keys[place][0] == record.actor_id:
            self._keys[place] = (None, record.generation)

    async def due_actors(
        self, before: int, limit: int, after: tuple[int, str] | None = None
    ) -> Sequence[tuple[int, str]]:
        await self._read()
        due = [(actor.record.wake_at, actor_id) for actor_id, actor in self._actors.items()]
        found = sorted((at, actor_id) for at, actor_id in due if at is not None and at < before)
        return [row for row in found if after is None or row > after][: max(0, limit)]

    async def strays(self, gateway_id: str, limit: int) -> Sequence[str]:
        await self._read()
        return [
            actor_id
            for actor_id, actor in self._actors.items()
            if any(row.gateway_id != gateway_id for row in actor.connections.values())
        ][: max(0, limit)]

    async def adopt_sessions(self, gateway_id: str, expires_at: int) -> Sequence[tuple[str, str, ConnectionRow]]:
        await self._write()
        found: dict[tuple[str, bytes], ConnectionRow] = {}
        for actor_id, actor in self._actors.items():
            for row in sorted(actor.connections.values(), key=lambda row: (row.opened_at, row.conn_id)):
                if row.session is not None and row.gateway_id != gateway_id:
                    found[(actor_id, row.session)] = replace(row, gateway_id=gateway_id, session_expires_at=expires_at)
        for (actor_id, _), row in found.items():
            self._actors[actor_id].connections[row.conn_id] = row
        return [(self._actors[actor_id].record.tenant, actor_id, row) for (actor_id, _), row in found.items()]

    async def session_known(self, actor_id: str, session: bytes) -> bool:
        await self._read()
        actor = self._actors.get(actor_id)
        if actor is None:
            return False
        return session in actor.ended_sessions or any(row.session == session for row in actor.connections.values())

    async def outbox(self, actor_id: str, conn_id: str, after: int) -> Outbox | None:
        await self._read()
        actor = self._actors.get(actor_id)
        row = None if actor is None else actor.connections.get(conn_id)
        if actor is None or row is None:
            return None
        frames = actor.outboxes.get(conn_id, {})
        return Outbox(row.sent_index, tuple(frames[index] for index in sorted(frames) if index > after))

    async def dead_letters(self, actor_id: str) -> Sequence[DeadLetter]:
        await self._read()
        actor = self._actors.get(actor_id)
        return [] if actor is None else list(actor.dead_letters)

    async def kv_size(self, actor_id: str) -> tuple[int, int]:
        await self._read()
        actor = self._actors.get(actor_id)
        return (0, 0) if actor is None else (len(actor.kv), actor.kv_bytes())

    def reader(self, actor_id: str) -> StateReader:
        return _MemoryReader(self, actor_id)

    # tenants ---------------------------------------------------------------------------------------------------------

    async def tenant_quotas(self, tenant: str) -> dict[str, int]:
        await self._read()
        return dict(self._quotas.get(tenant, {}))

    async def put_tenant_quotas(self, tenant: str, quotas: dict[str, int], now: int) -> None:
        await self._write()
        self._quotas[tenant] = dict(quotas)

    async def modules_size(self, tenant: str) -> tuple[int, int]:
        sizes = [record.size for record in await self.list_modules(tenant)]
        return len(sizes), sum(sizes)

    # tokens ----------------------------------------------------------------------------------------------------------

    async def put_token(self, row: TokenRow, allowed: int, now: int) -> bool:
        await self._write()
        held = {one.token_id for one in self._tokens.values() if one.tenant == row.tenant and _valid(one, now)}
        self._tokens = {
            digest: one for digest, one in self._tokens.items() if one.tenant != row.tenant or one.token_id in held
        }
        if len(held) >= allowed:
            return False
        self._tokens[row.hash] = row
        return True

    async def token_by_hash(self, digest: bytes) -> TokenRow | None:
        await self._read()
        return self._tokens.get(digest)

    async def tokens_of(self, tenant: str, now: int) -> Sequence[TokenRow]:
        await self._read()
        found = [row for row in self._tokens.values() if row.tenant == tenant and _valid(row, now)]
        return sorted(found, key=lambda row: (row.created_at, row.token_id))

    async def drop_token(self, tenant: str, token_id: str) -> bool:
        await self._write()
        for digest, row in self._tokens.items():
            if (row.tenant, row.token_id) == (tenant, token_id):
                del self._tokens[digest]
                return True
        return False

    # modules and definitions -----------------------------------------------------------------------------------------

    async def put_module(self, record: ModuleRecord, data: bytes, report: ModuleReport | None = None) -> bool:
        if hashlib.sha256(data).hexdigest() != record.digest:
            raise InternalError(f"the bytes of module {record.digest} have another digest")
        await self._write()
        self._blobs[record.digest] = data
        if report is not None:
            self._reports.setdefault((record.tenant, record.digest), report)
        if (record.tenant, record.digest) in self._modules:
            return False
        self._modules[(record.tenant, record.digest)] = record
        return True

    async def get_module(self, tenant: str, digest: str) -> ModuleRecord | None:
        await self._read()
        return self._modules.get((tenant, digest))

    async def module_report(self, tenant: str, digest: str) -> ModuleReport | None:
        await self._read()
        return self._reports.get((tenant, digest))

    async def module_bytes(self, digest: str) -> bytes | None:
        await self._read()
        return self._blobs.get(digest)

    async def list_modules(self, tenant: str) -> Sequence[ModuleRecord]:
        await self._read()
        mine = [record for record in self._modules.values() if record.tenant == tenant]
        return sorted(mine, key=lambda record: (record.stored_at, record.digest))

    async def put_definition(
        self,
        tenant: str,
        name: str,
        module: str,
        options: DefinitionOptions,
        limits: dict[str, int],
        now: int,
        *,
        percent: int = 100,
    ) -> Definition:
        await self._write()
        versions = self._definitions.setdefault((tenant, name), [])
        made = Definition(tenant, name, len(versions) + 1, module, now, options, dict(limits), percent=percent)
        versions.append(made)
        return made

    async def get_definition(self, tenant: str, name: str, version: int | None = None) -> Definition | None:
        await self._read()
        versions = self._definitions.get((tenant, name), [])
        if version is None:
            return versions[-1] if versions else None
        return versions[version - 1] if 1 <= version <= len(versions) else None

    async def list_definitions(self, tenant: str) -> Sequence[Definition]:
        await self._read()
        return [versions[-1] for (owner, _), versions in sorted(self._definitions.items()) if owner == tenant]

    # deploys ---------------------------------------------------------------------------------------------------------

    async def definition_versions(self, tenant: str, name: str, also: int | None = None) -> Sequence[Definition]:
        await self._read()
        newest = self._definitions.get((tenant, name), [])[::-1]
        return [each for place, each in enumerate(newest) if place < KEPT_VERSIONS or each.version == also]

    async def set_deploy(
        self,
        tenant: str,
        name: str,
        version: int,
        *,
        status: DeployStatus | None = None,
        percent: int | None = None,
        reason: str | None = None,
    ) -> Definition | None:
        await self._write()
        versions = self._definitions.get((tenant, name), [])
        if not 1 <= version <= len(versions):
            return None
        given = {"status": status, "percent": percent, "reason": reason}
        changed = replace(versions[version - 1], **{key: value for key, value in given.items() if value is not None})
        versions[version - 1] = changed
        return changed

    async def note_deploy_failure(
        self, tenant: str, name: str, version: int, actor_id: str, at: int, reason: str
    ) -> list[int]:
        await self._write()
        if actor_id in self._actors:
            self._deploy_failures[(tenant, name, version, actor_id)] = DeployFailure(version, actor_id, at, reason)
        place = (tenant, name, version)
        mine = [(each.at, key) for key, each in self._deploy_failures.items() if key[:3] == place]
        mine.sort()
        while len(mine) > KEPT_FAILURES:
            del self._deploy_failures[mine.pop(0)[1]]
        return [found[0] for found in mine]

    async def deploy_failures(self, tenant: str, name: str, limit: int) -> Sequence[DeployFailure]:
        await self._read()
        found = [each for key, each in self._deploy_failures.items() if key[:2] == (tenant, name)]
        found.sort(key=lambda each: (each.at, each.version, each.actor_id), reverse=True)
        return found[: max(0, limit)]

    async def count_actors(self, tenant: str, name: str, limit: int) -> int:
        await self._read()
        records = [actor.record for actor in self._live().values()]
        found = sum(1 for record in records if (record.tenant, record.name) == (tenant, name))
        return min(found, max(0, limit))

    async def release_held(self, actor_id: str) -> bool:
        await self._write()
        actor = self._actors.get(actor_id)
        if actor is None or actor.record.held_version is None:
            return False
        actor.record = replace(actor.record, held_version=None)
        return True

    # failing as a disk would -----------------------------------------------------------------------------------------

    def actor_kv(self, actor_id: str) -> dict[bytes, bytes]:
        """What a StateReader sees, on any thread: the KV of its own actor (D9)."""
        self._refuse_if_unknown()
        actor = self._actors.get(actor_id)
        return {} if actor is None else actor.kv

    async def _read(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._refuse_if_unknown()

    async def _write(self) -> None:
        """Yields as a real write does, then fails if told to. What follows it runs without another await."""
        await self._read()
        if self._failures:
            if self._failures.pop(0) == "unavailable":
                raise UnavailableError("storage", "unavailable", "storage could not write; nothing was changed")
            self._unknown = True
            self._refuse_if_unknown()

    def _refuse_if_unknown(self) -> None:
        if self._unknown:
            raise CommitUnknown("a COMMIT failed; what is stored is unknown until it is opened again")


class _MemoryReader:
    __slots__ = ("_actor_id", "_driver")

    def __init__(self, driver: MemoryDriver, actor_id: str) -> None:
        self._driver = driver
        self._actor_id = actor_id

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        kv = self._driver.actor_kv(self._actor_id)
        return {key: kv[key] for key in keys if key in kv}

    def range(self, start: bytes, end: bytes | None, *, reverse: bool, limit: int) -> list[tuple[bytes, bytes]]:
        rows = list(self._driver.actor_kv(self._actor_id).items())
        inside = [(key, value) for key, value in rows if start <= key and (end is None or key < end)]
        return sorted(inside, reverse=reverse)[: max(0, limit)]

    def kv_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in list(self._driver.actor_kv(self._actor_id).items()))

    def kv_keys(self) -> int:
        return len(self._driver.actor_kv(self._actor_id))
