"""Placement, embedded: every actor lives on this node. The actor service that the gateway and the control plane use.

It resolves keys, hands events to the actor's mailbox, and wakes the actor if need be. The isolate, the state and the
sockets are others' business.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from anyio.abc import TaskGroup
from msgspec.structs import replace

from host.actor.actor import Actor, not_found
from host.actor.entries import Entry, Kind
from host.actor.failures import UNCHECKED
from host.actor.lifecycle import State
from host.actor.services import Services
from host.model.errors import CallerError, DormiceError, limit_error, refusal
from host.model.ids import is_id, new_id
from host.model.records import ActorRecord
from host.model.snapshot import (
    ActorSnapshot,
    DeadLetterSnapshot,
    KvSnapshot,
)
from host.model.status import ActorStatus
from host.model.tunnel import (
    ActionCall,
    ActionReply,
    AuthCall,
    AuthKind,
    AuthReply,
    HttpCall,
    HttpReply,
    Opened,
    SocketClosed,
    SocketMessage,
    Visitor,
)
from host.model.usage import TenantUsage
from host.placement.alarms import AlarmClock
from host.placement.answer import Answer
from host.placement.calls import Calls
from host.placement.deploys import Rollouts
from host.placement.destroys import Destroys
from host.placement.directory import Directory
from host.placement.put_off import PutOff
from host.placement.snapshots import named_module, snapshot_of
from host.storage.driver import CommitUnknown, CreateActor, Outbox
from host.telemetry.logging import get_logger

__all__ = ["Placement"]

log = get_logger("placement")

T = TypeVar("T")

STRAYS_PER_SECOND = 50
# So often an actor is asked about a client again that was on its way to another version.
LOOKS_AGAIN = 4
STRAYS_AT_ONCE = 100_000


class Placement:
    """Implements `ActorService`; `tasks` is the task group that owns every actor's task."""

    def __init__(self, services: Services, tasks: TaskGroup) -> None:
        self._services = services
        self._storage = services.storage
        self._clock = services.clock
        self._metrics = services.metrics
        self._put_off = PutOff(services)
        self.directory = Directory(services, tasks, lambda actor_id: self._poke(actor_id, "room again"))
        self.rollouts = Rollouts(services, self.directory, tasks)
        self.calls = Calls(self, tasks, services)
        self.alarms = AlarmClock(services.storage, services.clock, self._wake_for_alarm, self._is_running)
        self.destroys = Destroys(services, tasks, self.directory, lambda actor_id: self.alarms.changed(actor_id, None))

    # --- keys ----------------------------------------------------------------------------------------------------

    async def get_or_create(
        self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None
    ) -> tuple[ActorRecord, bool]:
        found = await self.find(tenant, name, key)
        if found is not None:
            return found, False
        return await self._made(await self._wanted(tenant, name, key, input))

    async def create(self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None) -> ActorRecord:
        wanted = await self._wanted(tenant, name, key, input)
        record, created = await self._made(wanted)
        if not created:
            raise CallerError("actor", "duplicate_key", f"the key already has an actor: {record.actor_id}")
        return record

    async def _made(self, wanted: CreateActor) -> tuple[ActorRecord, bool]:
        record, created = await self._durably(self._storage.get_or_create(wanted))
        if not created and await self._leaves(record):
            record, created = await self._durably(self._storage.get_or_create(wanted))
        return record, created

    async def _leaves(self, record: ActorRecord) -> bool:
        """Whether its destroy is under way. One that is only asked for is waited for until it is on disk: whoever
        heard the answer of the action that asked for it, and comes by the key, gets the next actor."""
        return await self.destroys.record_of(record.actor_id) is not None

    async def _wanted(self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None) -> CreateActor:
        if not name:
            raise CallerError("actor", "empty_name", "an actor needs the name of a definition")
        if input is not None and len(input) > self._services.limits.input:
            raise limit_error(
                "input", len(input), self._services.limits.input, "send less", name="actor/input_too_large"
            )
        actor_id = new_id(self._services.random)
        definition = await self._services.definitions.for_new(tenant, name, actor_id)
        return CreateActor(
            actor_id=actor_id,
            tenant=tenant,
            name=name,
            key=key,
            version=definition.version,
            module=definition.module,
            now=self._clock.now_ms(),
            input=input,
        )

    async def _durably(self, write: Awaitable[T]) -> T:
        """Nobody knows the outcome of a write whose COMMIT failed: the process has to end, whoever asked for it."""
        try:
            return await write
        except CommitUnknown as error:
            self._services.fatal(error)
            raise

    async def find(self, tenant: str, name: str, key: tuple[str, ...]) -> ActorRecord | None:
        found = await self._storage.find(tenant, name, key)
        if found is not None and await self._leaves(found):
            return await self._storage.find(tenant, name, key)
        return found

    async def record(self, actor_id: str) -> ActorRecord:
        found = await self._storage.get_actor(actor_id) if is_id(actor_id) else None
        if found is None:
            raise not_found(actor_id)
        return found

    # --- events --------------------------------------------------------------------------------------------------

    def _actor(self, actor_id: str) -> Actor:
        if not is_id(actor_id):
            raise not_found(actor_id)
        if actor_id in self.destroys:
            self._metrics.count("events_refused", "actor.destroyed")
            log.info("event refused", actor_id=actor_id, reason="actor.destroyed")
            raise not_found(actor_id)
        return self._known(actor_id)

    def _known(self, actor_id: str) -> Actor:
        """An actor whose id is well formed, and that is not destroyed."""
        actor = self.directory.ensure(actor_id)
        if self._put_off:
            self._put_off.found_room(actor_id)
        return actor

    async def action(self, call: ActionCall, visitor: Visitor | None = None) -> ActionReply:
        reply = ActionReply(error=UNCHECKED)
        for _ in range(LOOKS_AGAIN):
            asked = await self._asked(call.actor_id, visitor, "action", call.ray, name=call.name)
            reply = await self._action(call if asked is None else replace(call, auth=asked))
            if reply.error != UNCHECKED:
                break
        return reply

    async def _asked(
        self, actor_id: str, visitor: Visitor | None, kind: AuthKind, ray: str, **what: str
    ) -> bytes | None:
        """What the actor's auth hook makes of a client; None where it is not known to have one, or where no client
        asks. Of an actor that does not run nobody knows: what it gets without is handed back."""
        if visitor is None:
            return None
        reply = AuthReply(error=UNCHECKED)
        for _ in range(LOOKS_AGAIN):
            actor = self._actor(actor_id)
            if actor.reply is None or not actor.reply.auth:
                return None
            answer = Answer[AuthReply]()
            asked = AuthCall(actor_id, kind, visitor, ray, **what)
            self._submit(actor, Entry(Kind.AUTH, asked, answer=answer.set))
            reply = await answer.wait()
            if reply.error != UNCHECKED:
                break
        if reply.error is not None:
            raise refusal(reply.error)
        return reply.data

    async def _action(self, call: ActionCall) -> ActionReply:
        actor = self._actor(call.actor_id)
        if actor.reply is not None and actor.reply.actions is not None and call.name not in actor.reply.actions:
            error = CallerError("actor", "action_not_found", f"this actor has no action {call.name!r}")
            return ActionReply(error=error.info)
        answer = Answer[ActionReply]()
        self._submit(actor, Entry(Kind.ACTION, call, answer=answer.set))
        return await answer.wait()

    async def request(self, call: HttpCall, visitor: Visitor | None = None) -> HttpReply:
        reply = HttpReply(error=UNCHECKED)
        for _ in range(LOOKS_AGAIN):
            what = {"method": call.method, "path": call.path}
            asked = await self._asked(call.actor_id, visitor, "request", call.ray, **what)
            reply = await self._request(call if asked is None else replace(call, auth=asked))
            if reply.error != UNCHECKED:
                break
        return reply

    async def _request(self, call: HttpCall) -> HttpReply:
        actor = self._actor(call.actor_id)
        if actor.reply is not None and not actor.reply.request:
            raise CallerError("actor", "method_not_allowed", "this actor does not serve HTTP requests")
        answer = Answer[HttpReply]()
        self._submit(actor, Entry(Kind.REQUEST, call, answer=answer.set))
        return await answer.wait()

    def _submit(self, actor: Actor, entry: Entry) -> None:
        if entry.unchecked and actor.reply is not None and actor.reply.auth:
            entry.fail(UNCHECKED)
            return
        allowed = self._services.limits.mailbox
        if len(actor.mailbox) >= allowed:
            self._metrics.count("events_refused", "mailbox")
            log.warning("event refused", actor_id=actor.actor_id, kind=entry.kind.value, reason="mailbox")
            raise limit_error("mailbox", len(actor.mailbox), allowed, "the actor is behind; try again later")
        actor.post(entry)
        self.directory.start(actor)

    async def open_socket(self, opened: Opened, visitor: Visitor | None = None) -> bytes | None:
        if await self.being_destroyed(opened.actor_id) is not None:
            # Before the handshake, not as a close after it.
            raise not_found(opened.actor_id)
        actor = self._actor(opened.actor_id)
        self.directory.start(actor)
        reply = await actor.wait_running()
        if opened.protocol:
            if not reply.connect:
                raise CallerError("actor", "method_not_allowed", "this actor takes no /connect connections")
        elif not reply.socket:
            raise CallerError(
                "actor", "method_not_allowed", "this actor does not serve WebSockets (it has no onWebSocket)"
            )
        kind: AuthKind = "connect" if opened.protocol else "socket"
        return await self._asked(opened.actor_id, visitor, kind, opened.request_id, method="GET", path=opened.path)

    def post_opened(self, opened: Opened) -> None:
        self._post(opened.actor_id, Entry(Kind.OPENED, opened, line=opened.conn_id))

    def post_message(self, message: SocketMessage) -> None:
        # D4: what a client of a /connect connection asks for interleaves.
        serial = isinstance(message.data, str | bytes)
        self._post(message.actor_id, Entry(Kind.MESSAGE, message, line=message.conn_id, serial=serial))

    async def outbox(self, actor_id: str, conn_id: str, after: int) -> Outbox | None:
        return await self._storage.outbox(actor_id, conn_id, after)

    def post_closed(self, closed: SocketClosed) -> None:
        self._post(closed.actor_id, Entry(Kind.CLOSED, closed, line=closed.conn_id))

    def _post(self, actor_id: str, entry: Entry) -> None:
        if actor_id in self.destroys:
            self._metrics.count("events_refused", "actor.destroyed")
            log.info("event refused", actor_id=actor_id, kind=entry.kind.value, reason="actor.destroyed")
            if entry.kind is Kind.OPENED and entry.line is not None:
                # Its handshake went on while the others were closed.
                self._metrics.count("socket_closes", "actor.destroyed")
                self._services.gateway.close(entry.line, 1000, "actor.destroyed")
            return
        try:
            actor = self._known(actor_id) if self.directory.get(actor_id) is not None else self._actor(actor_id)
        except DormiceError as error:
            # The gateway keeps the message; it is replayed when the actor wakes.
            self._metrics.count("events_refused", error.name)
            log.info("event put off", actor_id=actor_id, kind=entry.kind.value, error=error.name)
            if error.name == "node/full":
                self.directory.put_off(actor_id)
                self._put_off.add(actor_id, entry)
            return
        if entry.unchecked and actor.reply is not None and actor.reply.auth:
            # Its handshake went on while the actor moved to a version that asks.
            assert entry.line is not None
            self._metrics.count("socket_closes", "actor.restarted")
            self._services.gateway.close(entry.line, 1012, "actor.restarted")
            return
        actor.post(entry)
        self.directory.start(actor)

    # --- tenants -------------------------------------------------------------------------------------------------

    def connections_allowed(self, actor_id: str) -> int | None:
        actor = self.directory.get(actor_id)
        return None if actor is None or actor.limits is None else actor.limits.connections

    def refuse_connection(self, tenant: str) -> DormiceError | None:
        return self._services.tenants.refuse_connection(tenant) if tenant else None

    def count_connections(self, tenant: str, change: int) -> None:
        if tenant:
            self._services.tenants.count_connections(tenant, change)

    async def usage(self, tenant: str) -> TenantUsage:
        return await self._services.tenants.usage(tenant)

    async def set_quotas(self, tenant: str, quotas: dict[str, int]) -> None:
        await self._durably(self._services.tenants.set_quotas(tenant, quotas))

    # --- operators -----------------------------------------------------------------------------------------------

    def lifecycle_of(self, actor_id: str) -> str:
        actor = self.directory.get(actor_id)
        return State.ABSENT.value if actor is None else actor.state.value

    async def sleep(self, actor_id: str) -> None:
        actor = self.directory.get(actor_id)
        if actor is None:
            await self.record(actor_id)
            return
        await actor.sleep()

    async def destroy(self, actor_id: str) -> None:
        if not is_id(actor_id):
            raise not_found(actor_id)
        await self.destroys.destroy(actor_id)

    async def being_destroyed(self, actor_id: str) -> ActorRecord | None:
        return await self.destroys.record_of(actor_id)

    async def status(self, actor_id: str) -> ActorStatus:
        record = await self.record(actor_id)
        return ActorStatus(
            actor_id=record.actor_id,
            namespace=record.tenant,
            name=record.name,
            key=list(record.key),
            generation=record.generation,
            state=self.live_state(record),
            version=record.version,
            module=named_module(record.module),
            attempt=record.attempt,
            retry_at=record.retry_at,
            last_error=record.last_error,
            held_version=record.held_version,
            started_at=record.started_at,
            slept_at=record.slept_at,
        )

    def live_state(self, record: ActorRecord) -> str:
        """As operators see it: who is not in memory is asleep, has failed, or was never started (absent)."""
        live = self.lifecycle_of(record.actor_id)
        if live != State.ABSENT:
            return live
        return {"created": "absent", "failed": "failed"}.get(record.lifecycle, State.ASLEEP.value)

    async def reload(self, actor_id: str) -> ActorStatus:
        record = await self.record(actor_id)
        actor = self.directory.get(actor_id)
        asleep = actor is None and record.lifecycle != "failed"
        if not asleep:
            actor = self._actor(actor_id)
            asleep = actor.state is State.STOPPING
            self.directory.start(actor)
            try:
                await actor.reload()
            except DormiceError as error:
                if error.name != "actor/start_failed":
                    raise
                log.info("reload failed", actor_id=actor_id, error=error.name)
        if asleep:
            await self._release_held(actor_id)
        return await self.status(actor_id)

    async def _release_held(self, actor_id: str) -> None:
        """It may wake meanwhile, and have read its row before: it is told, and what it wrote by then is undone."""
        told: Actor | None = None
        while True:
            await self._durably(self._storage.release_held(actor_id))
            actor = self.directory.get(actor_id)
            if actor is None or actor is told:
                return
            actor.forget_held()
            told = actor

    async def behind(self, tenant: str, name: str) -> int:
        return await self.rollouts.behind(tenant, name)

    def roll_out(self, tenant: str, name: str, rate: int) -> int:
        return self.rollouts.begin(tenant, name, rate)

    async def snapshot(self, actor_id: str) -> ActorSnapshot:
        image = await self._storage.hydrate(actor_id) if is_id(actor_id) else None
        if image is None:
            raise not_found(actor_id)
        keys, size = await self._storage.kv_size(actor_id)
        letters = await self._storage.dead_letters(actor_id)
        return snapshot_of(
            image,
            self.live_state(image.record),
            KvSnapshot(keys, size),
            [
                DeadLetterSnapshot(one.kind, one.ref, one.index, one.reason, one.message, one.attempts, one.at)
                for one in letters
            ],
        )

    # --- wakes ---------------------------------------------------------------------------------------------------

    def wake_at_changed(self, actor_id: str, wake_at: int | None) -> None:
        """WakePort."""
        self.alarms.changed(actor_id, wake_at)

    def destroy_asked(self, actor_id: str) -> None:
        """WakePort."""
        self.destroys.ask(actor_id)

    def _is_running(self, actor_id: str) -> bool:
        actor = self.directory.get(actor_id)
        return actor is not None and actor.state is State.RUNNING

    def _wake_for_alarm(self, actor_id: str) -> None:
        self._poke(actor_id, "alarm")

    def _poke(self, actor_id: str, cause: str) -> None:
        try:
            actor = self._actor(actor_id)
        except DormiceError as error:
            self._metrics.count("events_refused", error.name)
            log.warning("wake put off", actor_id=actor_id, cause=cause, error=error.name)
            if error.name == "node/full":
                self.directory.put_off(actor_id)
            return
        actor.poke()
        self.directory.start(actor)

    async def sweep_strays(self) -> None:
        """After a restart: connections of the gateway that is gone become close events, at most 50 actors a second."""
        while True:
            try:
                strays = list(await self._storage.strays(self._services.gateway.gateway_id, STRAYS_AT_ONCE))
            except DormiceError as error:
                log.warning("stale connections not read", error=error.name)
                await self._clock.sleep_until(self._clock.monotonic() + 1.0)
                continue
            for start in range(0, len(strays), STRAYS_PER_SECOND):
                for actor_id in strays[start : start + STRAYS_PER_SECOND]:
                    self._poke(actor_id, "stale connections")
                await self._clock.sleep_until(self._clock.monotonic() + 1.0)
            if len(strays) < STRAYS_AT_ONCE:
                return

    async def drain(self) -> None:
        await self.directory.drain()
        await self.destroys.drain()
