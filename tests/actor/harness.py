"""A node without its two ends: real placement, actors, executor, isolates and storage; a virtual clock, and a gateway
that writes down what it is told.

Guest threads run in real time, everything else in virtual time. `rest` waits until nothing is under way: no job on a
thread, no call of storage, nothing ready on the event loop. A test may hold the result of a hop (`executor.hold`) or a
commit (`storage.hold`) back and look at the world meanwhile; what is held counts as at rest.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import anyio.lowlevel
import msgspec

from host.actor.registry import Registered, Registry
from host.actor.services import Services
from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.executor import CpuMeter, Executor
from host.model.calls import Caller, CallOutcome, DeferredCall, FetchCall
from host.model.definitions import CAPABILITIES, JS_MANIFEST, DefinitionOptions, Manifest, ModuleRecord
from host.model.effects import CommitUnit
from host.model.errors import DormiceError, ErrorInfo, UnavailableError
from host.model.failpoints import OFF, FailPoints
from host.model.limits import Limits
from host.model.ports import Done, Hold
from host.model.records import ActorImage, ActorRecord, DeadLetter
from host.model.tunnel import ActionCall, HttpCall, HttpReply
from host.modules.api import ModuleService, RunnableCode
from host.modules.cache import ArtifactCache
from host.modules.codes import CodeStore
from host.modules.compile import Compiler
from host.modules.engine_image import EngineImage
from host.placement.service import Placement
from host.placement.tenants import Tenants
from host.storage.driver import CommitUnknown, Driver, Fenced
from host.storage.memory import MemoryDriver
from host.telemetry.metrics import MetricsRegistry
from isolate_sdk import engine_wasm, prelude
from tests.actor.fake_gateway import FakeGateway, Line, Socket
from tests.virtual_clock import VirtualClock

__all__ = ["CodeShelf", "Failed", "Harness", "WatchedExecutor", "WatchedStorage", "open_harness"]

T = TypeVar("T")

TENANT = "default"
# Turns of the event loop without anything under way after which it is at rest.
STILL = 15
PATIENCE = 15.0
PROBE = (Path(__file__).parent / "probe.js").read_text()
WASM_MANIFEST = Manifest(abi=1, codec="json", capabilities=tuple(sorted(CAPABILITIES)))


class Failed(Exception):
    """An action or a request ended with this error."""

    def __init__(self, info: ErrorInfo) -> None:
        super().__init__(f"{info.name}: {info.message}")
        self.info = info
        self.name = info.name


class CodeShelf:
    """Compiled code for the whole session: the JavaScript engine, and small guests by their bytes."""

    def __init__(self, engine: Engine, js: Code) -> None:
        self._engine = engine
        self._js = js
        self._made: dict[str, RunnableCode] = {}

    @classmethod
    async def build(cls, data_dir: Path) -> CodeShelf:
        """From the artifacts that a node left in a data directory."""
        engine, metrics = Engine(), MetricsRegistry()
        cache = ArtifactCache(data_dir / "cache", (data_dir / "key").read_bytes(), engine.profile_key, metrics)
        compiler = Compiler(engine)
        codes = CodeStore(engine, compiler, cache, metrics)
        image = EngineImage(engine, compiler, codes, cache, engine_wasm=engine_wasm(), prelude=prelude().encode())
        return cls(engine, await image.js_code())

    def put(self, module: str | bytes) -> str:
        """JavaScript as text, Wasm as bytes; gives back the digest."""
        data = module.encode() if isinstance(module, str) else module
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._made:
            if isinstance(module, str):
                self._made[digest] = RunnableCode("js", digest, JS_MANIFEST, self._js, data)
            else:
                self._made[digest] = RunnableCode("wasm", digest, WASM_MANIFEST, self._engine.compile(data))
        return digest

    async def upload(self, tenant: str, data: bytes, content_type: str) -> ModuleRecord:
        """What a loader gives."""
        digest = self.put(data.decode() if content_type == "text/javascript" else data)
        made = self._made[digest]
        return ModuleRecord(tenant, digest, made.kind, len(data), made.manifest, 0)

    async def code_for(self, tenant: str, digest: str) -> RunnableCode:
        await anyio.lowlevel.checkpoint()
        return self._made[digest]

    def close(self) -> None:
        self._engine.close()


class _Gate:
    """Holds back whoever passes while it is shut."""

    def __init__(self, activity: _Activity) -> None:
        self._activity = activity
        self._opened = anyio.Event()
        self._opened.set()
        self.held = 0
        self._arrived = anyio.Event()

    def shut(self) -> None:
        if self._opened.is_set():
            self._opened = anyio.Event()

    def open(self) -> None:
        self._opened.set()

    async def arrival(self) -> None:
        """Returns when somebody is held."""
        with anyio.fail_after(PATIENCE):
            while not self.held:
                await self._arrived.wait()

    async def passing(self) -> None:
        if self._opened.is_set():
            return
        self.held += 1
        arrived, self._arrived = self._arrived, anyio.Event()
        arrived.set()
        self._activity.end()
        try:
            await self._opened.wait()
        finally:
            self._activity.begin()
            self.held -= 1


class _Activity:
    """Counts what is under way."""

    def __init__(self) -> None:
        self.running = 0
        self._still = anyio.Event()

    def begin(self) -> None:
        self.running += 1

    def end(self) -> None:
        self.running -= 1
        if not self.running:
            still, self._still = self._still, anyio.Event()
            still.set()

    async def rest(self) -> None:
        with anyio.fail_after(PATIENCE):
            quiet = 0
            while quiet < STILL:
                if self.running:
                    quiet = 0
                    await self._still.wait()
                else:
                    quiet += 1
                    await anyio.lowlevel.checkpoint()


class JobCost:
    """Every job costs so many seconds of CPU time, whatever it does."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._asked = threading.local()

    def thread_time(self) -> float:
        """A thread asks at the beginning and at the end of each job."""
        ends: bool = getattr(self._asked, "ends", False)
        self._asked.ends = not ends
        return self.seconds if ends else 0.0


class WatchedExecutor(Executor):
    """The executor; `hold` keeps results from the event loop, as if their jobs still ran."""

    def __init__(self, activity: _Activity, meter: CpuMeter) -> None:
        super().__init__(4, meter=meter)
        self._activity = activity
        self._gate = _Gate(activity)
        self.jobs = 0
        self.break_next: list[BaseException] = []

    def hold(self) -> None:
        self._gate.shut()

    def release(self) -> None:
        self._gate.open()

    async def until_held(self) -> None:
        await self._gate.arrival()

    async def run(self, tenant: str, job: Callable[[], T]) -> T:
        self._activity.begin()
        self.jobs += 1
        try:
            if self.break_next:
                raise self.break_next.pop(0)
            result = await super().run(tenant, job)
            await self._gate.passing()
            return result
        finally:
            self._activity.end()


class WatchedStorage:
    """A driver; commits can be held back or made to fail, and are written down once they are durable."""

    def __init__(self, driver: Driver, activity: _Activity, note: Callable[..., None]) -> None:
        self.driver = driver
        self.units: list[CommitUnit] = []
        self.fail_next: list[BaseException] = []
        self.hydrations = 0
        self._activity = activity
        self._note = note
        self._commits = _Gate(activity)
        self._reads = _Gate(activity)

    def hold(self) -> None:
        """Commits wait until `release`."""
        self._commits.shut()

    def hold_starts(self) -> None:
        """Hydrated images wait until `release`."""
        self._reads.shut()

    def release(self) -> None:
        self._commits.open()
        self._reads.open()

    async def until_held(self) -> None:
        await self._commits.arrival()

    async def until_start_held(self) -> None:
        await self._reads.arrival()

    def unavailable(self, times: int = 1) -> None:
        self.fail_next += [UnavailableError("storage", "unavailable", "the disk is full") for _ in range(times)]

    def fenced(self) -> None:
        self.fail_next.append(Fenced("fenced by the test"))

    def unknown(self) -> None:
        self.fail_next.append(CommitUnknown("nobody knows"))

    async def commit(self, unit: CommitUnit) -> None:
        self._activity.begin()
        try:
            await self._commits.passing()
            if self.fail_next:
                raise self.fail_next.pop(0)
            await self.driver.commit(unit)
            self.units.append(unit)
            self._note("commit", unit.actor_id, unit)
        finally:
            self._activity.end()

    async def hydrate(self, actor_id: str, *, destroying: bool = False) -> ActorImage | None:
        self._activity.begin()
        try:
            self.hydrations += 1
            image = await self.driver.hydrate(actor_id, destroying=destroying)
            await self._reads.passing()
            return image
        finally:
            self._activity.end()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.driver, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def watched(*args: Any, **more: Any) -> Any:
            self._activity.begin()
            try:
                return await found(*args, **more)
            finally:
                self._activity.end()

        return watched


class Outside:
    """The world beyond the host: says what the test tells it to, after so many virtual seconds."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.asked: list[tuple[Caller, FetchCall]] = []
        self.ended: list[int] = []
        self.seconds = 0.0
        self.outcome = CallOutcome(
            b'{"status":200,"headers":[["a","b"]],"url":"https://x.example/","redirected":false}'
        )
        self.body = b"hello"

    async def fetch(self, caller: Caller, call: FetchCall, hold: Hold) -> CallOutcome:
        self.asked.append((caller, call))
        if self.seconds:
            await self._clock.sleep_until(self._clock.monotonic() + self.seconds)
        refused = hold(len(self.body))
        self.ended.append(call.call)
        if refused is not None:
            return CallOutcome(error=refused.info)
        return msgspec.structs.replace(self.outcome, body=self.body)


class Harness:
    def __init__(
        self, shelf: CodeShelf, driver: Driver, limits: Limits, registered: Mapping[str, Registered] | None = None
    ) -> None:
        self.history: list[Line] = []
        self.clock = VirtualClock()
        self.clock.settle = self.rest
        self.metrics = MetricsRegistry()
        self.fatal: list[BaseException] = []
        self.shelf = shelf
        self.activity = _Activity()
        self.gateway = FakeGateway(self.history)
        self.storage = WatchedStorage(driver, self.activity, self.gateway.note)
        self.cost = JobCost()
        self.tenants = Tenants(cast(Driver, self.storage), self.clock, limits, self.metrics)
        self.executor = WatchedExecutor(self.activity, CpuMeter(self.cost.thread_time, self.tenants.charge))
        self.outside = Outside(self.clock)
        self._random = 0
        self.jitter = b"\0"
        self.services = Services(
            storage=cast(Driver, self.storage),
            executor=self.executor,
            definitions=Registry(
                cast(Driver, self.storage),
                cast(ModuleService, shelf),
                registered,
                clock=self.clock,
                metrics=self.metrics,
            ),
            gateway=self.gateway,
            wake=self,
            calls=self,
            egress=self.outside,
            tenants=self.tenants,
            clock=self.clock,
            metrics=self.metrics,
            random=self._random_bytes,
            limits=limits,
            data_key=b"k" * 32,
            fatal=self.fatal.append,
        )
        self.placement: Placement

    def _random_bytes(self, size: int) -> bytes:
        """Ids count up; a jitter is as the test says, none at first."""
        if size == 4:
            return self.jitter * 4
        self._random += 1
        return self._random.to_bytes(size, "big")

    def wake_at_changed(self, actor_id: str, wake_at: int | None) -> None:
        self.placement.wake_at_changed(actor_id, wake_at)

    def destroy_asked(self, actor_id: str) -> None:
        self.placement.destroy_asked(actor_id)

    def start_call(self, caller: Caller, call: DeferredCall, done: Done, hold: Hold) -> Callable[[], None]:
        return self.placement.calls.start_call(caller, call, done, hold)

    # --- time ----------------------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Returns when nothing is under way."""
        await self.activity.rest()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    # --- definitions and actors ----------------------------------------------------------------------------------

    async def define(
        self,
        module: str | bytes,
        name: str = "a",
        *,
        limits: dict[str, int] | None = None,
        options: DefinitionOptions | None = None,
    ) -> None:
        digest = self.shelf.put(module)
        await self.storage.put_definition(
            TENANT, name, digest, options or DefinitionOptions(), limits or {}, self.clock.now_ms()
        )

    async def actor(self, name: str = "a", key: str = "k", input: bytes | None = None) -> str:
        record, _ = await self.placement.get_or_create(TENANT, name, (key,), input)
        return record.actor_id

    async def new(self, module: str | bytes, *, limits: dict[str, int] | None = None) -> str:
        """An actor of a new definition."""
        await self.define(module, limits=limits)
        return await self.actor()

    async def probe(self, *, limits: dict[str, int] | None = None, input: Any = None) -> str:
        """An actor that does what it is told (`probe.js`)."""
        await self.define(PROBE, limits={"host_calls": 64, **(limits or {})})
        return await self.actor(input=None if input is None else json.dumps(input).encode())

    async def call(self, actor_id: str, action: str, *args: Any) -> Any:
        """The output of an action; raises `Failed`."""
        call = ActionCall(actor_id, action, json.dumps(args).encode(), "ray")
        with anyio.fail_after(PATIENCE):
            reply = await self.placement.action(call)
        if reply.error is not None:
            raise Failed(reply.error)
        self.gateway.note("reply", actor_id, action)
        return json.loads(reply.output)

    async def error(self, actor_id: str, action: str, *args: Any) -> ErrorInfo:
        """The error that an action ends with."""
        try:
            output = await self.call(actor_id, action, *args)
        except Failed as failed:
            return failed.info
        except DormiceError as error:
            return error.info
        raise AssertionError(f"the action succeeded: {output}")

    async def destroy(self, actor_id: str, seconds: float = 0.0) -> None:
        """Destroys it, which may take so many seconds and no more."""
        ended = anyio.Event()

        async def whole() -> None:
            await self.placement.destroy(actor_id)
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(whole, name=f"test destroys {actor_id}")
            await self.advance(seconds)
            assert ended.is_set(), f"the destroy takes longer than {seconds} s"

    async def request(self, actor_id: str, path: str = "/", method: str = "GET", body: bytes = b"") -> HttpReply:
        with anyio.fail_after(PATIENCE):
            return await self.placement.request(HttpCall(actor_id, method, path, (), body, "ray"))

    async def open(self, actor_id: str, **more: Any) -> Socket:
        """A connection whose open event has settled."""
        with anyio.fail_after(PATIENCE):
            socket = await self.gateway.open(actor_id, **more)
            await self.gateway.until(lambda: socket.open_acked or socket.closed is not None)
            return socket

    async def busy(self, key: str = "busy") -> tuple[str, Callable[[], Awaitable[None]]]:
        """An actor that stays awake, and how to put it to sleep."""
        await self.define(PROBE, "busy", limits={"host_calls": 64}, options=DefinitionOptions(hibernate=False))
        actor = await self.actor("busy", key)
        socket = await self.open(actor)

        async def end() -> None:
            socket.close()
            await self.rest()
            await self.asleep(actor)

        return actor, end

    async def asleep(self, actor_id: str) -> None:
        """Puts it to sleep and waits until nothing of it is left in memory."""
        with anyio.fail_after(PATIENCE):
            await self.placement.sleep(actor_id)
        await self.rest()
        assert self.state(actor_id) == "absent"

    def state(self, actor_id: str) -> str:
        return self.placement.lifecycle_of(actor_id)

    # --- what is on disk -----------------------------------------------------------------------------------------

    async def image(self, actor_id: str) -> ActorImage:
        image = await self.storage.driver.hydrate(actor_id)
        assert image is not None
        return image

    async def record(self, actor_id: str) -> ActorRecord:
        return (await self.image(actor_id)).record

    async def document(self, actor_id: str) -> Any:
        state = (await self.image(actor_id)).state
        return None if state is None else json.loads(state)

    async def letters(self, actor_id: str) -> Sequence[DeadLetter]:
        return await self.storage.driver.dead_letters(actor_id)

    async def index(self, socket: Socket) -> int:
        rows = {row.conn_id: row.msg_index for row in (await self.image(socket.opened.actor_id)).connections}
        return rows[socket.conn]

    # --- what happened -------------------------------------------------------------------------------------------

    def happened(self, *kinds: str) -> list[Line]:
        return [line for line in self.history if line[0] in kinds]

    def frames(self) -> list[tuple[object, object]]:
        """(conn, data) of every frame, in the order in which they left."""
        return [(line[1], line[2]) for line in self.happened("frame")]

    def count(self, name: str, reason: str | None = None) -> int:
        return self.metrics.counter(name, reason)


@asynccontextmanager
async def open_harness(
    shelf: CodeShelf,
    driver: Driver | None = None,
    *,
    limits: Limits | None = None,
    failpoints: FailPoints = OFF,
    registered: Mapping[str, Registered] | None = None,
) -> AsyncGenerator[Harness]:
    """Runs until the block ends; then whatever is held is let go and the actors end with their tasks."""
    memory = cast(Driver, MemoryDriver())
    harness = Harness(shelf, driver if driver is not None else memory, limits or Limits(), registered)
    if failpoints.on:
        harness.services = replace(harness.services, failpoints=failpoints)
    async with harness.executor, anyio.create_task_group() as tasks:
        harness.placement = Placement(harness.services, tasks)
        harness.gateway.attach(harness.placement)
        tasks.start_soon(harness.placement.alarms.run, name="alarm clock")
        try:
            yield harness
        finally:
            harness.executor.release()
            harness.storage.release()
            tasks.cancel_scope.cancel()
