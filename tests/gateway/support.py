"""Doubles for the layers below the gateway, and a world that puts an application together from them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import anyio
import httpx
from msgspec import Raw

from host.gateway.app import GatewayApp, create_app
from host.gateway.auth import AuthPolicy
from host.gateway.server import HostServer, bind
from host.gateway.sockets import SocketGateway
from host.model.definitions import Definition, DefinitionOptions, Manifest, ModuleRecord
from host.model.errors import CallerError, DormiceError, ErrorInfo, no_such_actor
from host.model.limits import Limits
from host.model.records import ActorRecord
from host.model.snapshot import ActorSnapshot, ConnectionSnapshot, KvSnapshot, ModuleRef
from host.model.status import ActorStatus
from host.model.tunnel import ActionCall, ActionReply, HttpCall, HttpReply, Opened, SocketClosed, SocketMessage, Visitor
from host.model.usage import QuotaUse, TenantUsage
from host.storage.driver import CreateActor, Outbox
from host.storage.memory import MemoryDriver
from host.telemetry.metrics import MetricsRegistry

NOW = 1_700_000_000_000


class ManualTimer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Timers go off when a test says so; time-outs are real ones."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[ManualTimer] = []

    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return self.now

    async def sleep_until(self, when: float) -> None:
        raise AssertionError("the gateway does not sleep")

    def fail_after(self, seconds: float) -> AbstractContextManager[Any]:
        return anyio.fail_after(seconds)

    def timer(self, when: float, call: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(when, call)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.when <= self.now and not timer.cancelled]
        self.timers = [timer for timer in self.timers if timer.when > self.now]
        for timer in due:
            timer.call()


class Serial:
    """Bytes that are all different, in place of random ones."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, size: int) -> bytes:
        self.n += 1
        return self.n.to_bytes(size, "big")


class ServiceDouble:
    """An actor service without actors: it keeps what it is told, and answers what a test puts in."""

    def __init__(self, driver: MemoryDriver) -> None:
        self.driver = driver
        self.ids = Serial()
        self.events: list[Opened | SocketMessage | SocketClosed] = []
        self.calls: list[ActionCall] = []
        self.requests: list[HttpCall] = []
        self.visitors: list[Visitor | None] = []
        self.asked: bytes | None = None
        self.slept: list[str] = []
        self.reloaded: list[str] = []
        self.rollouts: list[tuple[str, str, int]] = []
        self.lifecycle = "running"
        self.on_event: Callable[[Any], None] = lambda event: None
        self.on_action: Callable[[ActionCall], ActionReply] = lambda call: ActionReply(call.args)
        self.on_request: Callable[[HttpCall], HttpReply] = lambda call: HttpReply()
        self.refuse_open: Exception | None = None
        self.fail: Exception | None = None
        self.allowed: int | None = None
        self.refusal: DormiceError | None = None
        self.connections: dict[str, int] = {}
        self.quotas: dict[str, int] = {}
        # One whose destroy is under way.
        self.doomed: ActorRecord | None = None
        self._changed = anyio.Event()

    async def get_or_create(
        self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None
    ) -> tuple[ActorRecord, bool]:
        if self.fail is not None:
            raise self.fail
        if name == "nobody":
            raise CallerError("definition", "not_found", "there is no such definition")
        wanted = CreateActor(self.ids(16).hex(), tenant, name, key, 1, "0" * 64, NOW, input)
        return await self.driver.get_or_create(wanted)

    async def create(self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None) -> ActorRecord:
        record, created = await self.get_or_create(tenant, name, key, input)
        if not created:
            raise CallerError("actor", "duplicate_key", "the key has an actor")
        return record

    async def find(self, tenant: str, name: str, key: tuple[str, ...]) -> ActorRecord | None:
        return await self.driver.find(tenant, name, key)

    async def record(self, actor_id: str) -> ActorRecord:
        found = await self.driver.get_actor(actor_id)
        if found is None:
            raise no_such_actor(actor_id)
        return found

    def lifecycle_of(self, actor_id: str) -> str:
        return self.lifecycle

    def live_state(self, record: ActorRecord) -> str:
        return self.lifecycle

    async def outbox(self, actor_id: str, conn_id: str, after: int) -> Outbox | None:
        return await self.driver.outbox(actor_id, conn_id, after)

    async def snapshot(self, actor_id: str) -> ActorSnapshot:
        record = await self.record(actor_id)
        conn = ConnectionSnapshot("c1", "/room", 7, [9], True, NOW, NOW, ["a"], Raw(b'["$BigInt","5"]'), Raw(b"null"))
        return ActorSnapshot(
            actor_id=record.actor_id,
            namespace=record.tenant,
            name=record.name,
            key=["$not", "a tag"],
            generation=record.generation,
            epoch=1,
            lifecycle=self.lifecycle,
            module=ModuleRef("sha256:" + record.module, record.name, 1),
            created_at=NOW,
            started_at=None,
            slept_at=None,
            wake_at=None,
            attempt=0,
            retry_at=None,
            last_error=None,
            connections=[conn],
            alarms=[],
            kv=KvSnapshot(1, 2),
            state_bytes=3,
            dead_letters=[],
        )

    async def action(self, call: ActionCall, visitor: Visitor | None = None) -> ActionReply:
        self.calls.append(call)
        self.visitors.append(visitor)
        if self.fail is not None:
            raise self.fail
        return self.on_action(call)

    async def request(self, call: HttpCall, visitor: Visitor | None = None) -> HttpReply:
        self.requests.append(call)
        self.visitors.append(visitor)
        return self.on_request(call)

    async def open_socket(self, opened: Opened, visitor: Visitor | None = None) -> bytes | None:
        self.visitors.append(visitor)
        if self.refuse_open is not None:
            raise self.refuse_open
        return self.asked

    def post_opened(self, opened: Opened) -> None:
        self._post(opened)

    def post_message(self, message: SocketMessage) -> None:
        self._post(message)

    def post_closed(self, closed: SocketClosed) -> None:
        self._post(closed)

    def connections_allowed(self, actor_id: str) -> int | None:
        return self.allowed

    def refuse_connection(self, tenant: str) -> DormiceError | None:
        return self.refusal

    def count_connections(self, tenant: str, change: int) -> None:
        self.connections[tenant] = self.connections.get(tenant, 0) + change

    async def usage(self, tenant: str) -> TenantUsage:
        quota = QuotaUse(1, self.quotas.get("tenant_actors", 5), 9, "actors", "tenant_actors" in self.quotas)
        tokens = QuotaUse(0, self.quotas.get("tenant_tokens", 3), 9, "tokens", "tenant_tokens" in self.quotas)
        quotas = {"tenant_actors": quota, "tenant_tokens": tokens}
        return TenantUsage(tenant, quotas, 2, 3, 4, 5, {"tenant_starts": 6}, NOW)

    async def set_quotas(self, tenant: str, quotas: dict[str, int]) -> None:
        self.quotas = quotas

    async def status(self, actor_id: str) -> ActorStatus:
        record = await self.record(actor_id)
        error = ErrorInfo("actor", "start_failed", "no", metadata=b'{"limit":"x"}')
        return ActorStatus(
            record.actor_id,
            record.tenant,
            record.name,
            list(record.key),
            record.generation,
            self.lifecycle,
            record.version,
            f"sha256:{record.module}",
            attempt=2,
            retry_at=NOW,
            last_error=error,
            held_version=3,
        )

    async def reload(self, actor_id: str) -> ActorStatus:
        self.reloaded.append(actor_id)
        return await self.status(actor_id)

    async def behind(self, tenant: str, name: str) -> int:
        return 3

    def roll_out(self, tenant: str, name: str, rate: int) -> int:
        self.rollouts.append((tenant, name, rate))
        return 7

    async def sleep(self, actor_id: str) -> None:
        self.slept.append(actor_id)

    async def being_destroyed(self, actor_id: str) -> ActorRecord | None:
        return self.doomed if self.doomed is not None and self.doomed.actor_id == actor_id else None

    async def destroy(self, actor_id: str) -> None:
        if not await self.driver.finish_destroy(actor_id):
            raise CallerError("actor", "not_found", "there is no such actor")

    # what tests read ---------------------------------------------------------------------------------------------

    def _post(self, event: Opened | SocketMessage | SocketClosed) -> None:
        self.events.append(event)
        self._changed.set()
        self.on_event(event)

    @property
    def messages(self) -> list[SocketMessage]:
        return [event for event in self.events if isinstance(event, SocketMessage)]

    @property
    def closed(self) -> list[SocketClosed]:
        return [event for event in self.events if isinstance(event, SocketClosed)]

    @property
    def opened(self) -> list[Opened]:
        return [event for event in self.events if isinstance(event, Opened)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when an event has made the condition true."""
        while not condition():
            self._changed = anyio.Event()
            await self._changed.wait()


class ModulesDouble:
    """Takes any bytes for a module."""

    def __init__(self, driver: MemoryDriver) -> None:
        self.driver = driver
        self.loaded: list[tuple[str, str]] = []

    async def upload(self, tenant: str, data: bytes, content_type: str) -> ModuleRecord:
        if content_type not in ("application/wasm", "text/javascript"):
            raise CallerError("module", "unsupported_type", f"{content_type!r} is not a type of module")
        kind: Any = "js" if content_type == "text/javascript" else "wasm"
        record = ModuleRecord(tenant, hashlib.sha256(data).hexdigest(), kind, len(data), Manifest(1), NOW)
        await self.driver.put_module(record, data)
        return record

    async def load_url(self, tenant: str, url: str, sha256: str) -> ModuleRecord:
        self.loaded.append((url, sha256))
        data = b"fetched"
        record = ModuleRecord(tenant, hashlib.sha256(data).hexdigest(), "js", len(data), Manifest(1), NOW, url)
        await self.driver.put_module(record, data)
        return record

    async def deploy(
        self,
        tenant: str,
        name: str,
        digest: str,
        options: DefinitionOptions,
        limits: dict[str, int],
        *,
        percent: int = 100,
    ) -> Definition:
        return await self.driver.put_definition(tenant, name, digest, options, limits, NOW, percent=percent)

    async def code_for(self, tenant: str, digest: str) -> Any:
        raise AssertionError("the gateway runs no code")


class World:
    """An application over doubles. `base` is where clients find it."""

    def __init__(self, auth: AuthPolicy, limits: Limits | None = None) -> None:
        self.driver = MemoryDriver()
        self.service = ServiceDouble(self.driver)
        self.modules = ModulesDouble(self.driver)
        self.limits = limits or Limits()
        self.metrics = MetricsRegistry()
        self.clock = ManualClock()
        self.status = "up"
        self.random = Serial()
        self.sockets = SocketGateway(
            gateway_id="gw", limits=self.limits, metrics=self.metrics, clock=self.clock, session_key=b"k" * 32
        )
        self.app: GatewayApp = create_app(
            service=self.service,
            modules=self.modules,
            storage=self.driver,
            sockets=self.sockets,
            auth=auth,
            limits=self.limits,
            metrics=self.metrics,
            render_metrics=self.metrics.render,
            random=self.random,
            clock=self.clock,
            health=lambda: self.status,
        )

    def client(self, app: Any = None, base: str = "http://localhost", **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=app or self.app, raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url=base, headers=headers)

    async def actor(self, name: str = "room", *key: str) -> ActorRecord:
        return (await self.service.get_or_create("default", name, key, None))[0]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[HostServer]:
        """A real server on a free port, for the length of the block, which is bounded."""
        server = HostServer(self.app, bind("127.0.0.1", 0), self.limits)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                await tasks.start(server.run)
                try:
                    yield server
                finally:
                    with anyio.CancelScope(shield=True):
                        await server.stop(self._drain)

    async def _drain(self) -> None:
        self.sockets.close_all()


def error_of(response: httpx.Response) -> str:
    body = response.json()
    return f"{body['group']}/{body['code']}"


def unexpected() -> DormiceError:
    return DormiceError("internal", "internal_error", "secret message", detail="secret detail")
