"""The composition root: builds every layer of a node, in the order of a message's path, and takes them down again.

Start-up reads top to bottom, shutdown is the same nesting read bottom to top: stop accepting, drain (the gate closes,
the actors hibernate and commit), then the executor, the storage and the data directory close.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from host.actor.registry import Registered, Registry
from host.actor.services import Services
from host.clock import SystemClock, thread_time
from host.config import Settings
from host.gateway.app import GatewayApp, create_app
from host.gateway.auth import AuthPolicy
from host.gateway.server import HostServer, bind
from host.gateway.sockets import SocketGateway
from host.isolate.engine import Engine
from host.isolate.executor import CpuMeter, Executor
from host.model.calls import Caller, DeferredCall
from host.model.clock import Clock
from host.model.egress import EgressFunction
from host.model.errors import GuestFault, UnavailableError
from host.model.failpoints import OFF, FailPoint, FailPoints, parse_failpoint
from host.model.ids import new_id
from host.model.ports import Done, Hold
from host.modules.compile import Progress, no_progress
from host.modules.service import Modules
from host.outbound.egress import Egress
from host.placement.memory_probe import read_memory
from host.placement.memory_watch import MemoryWatch
from host.placement.reserve import parse_reserve
from host.placement.service import Placement
from host.placement.tenants import Tenants
from host.storage.datadir import DataDir
from host.storage.sqlite import open_sqlite
from host.telemetry.logging import configure_logging, get_logger
from host.telemetry.metrics import MetricsRegistry

__all__ = ["EXIT_STORAGE", "Node", "open_node", "run", "serve"]

# A guest's thread asks for the interpreter at every host call. At Python's 5 ms it would wait through whole batches of
# the event loop's work; this is short enough for a hop and long enough not to thrash.
SWITCH_INTERVAL = 0.000_5

# The exit code after an error in COMMIT or fsync: what is on disk is known again only after a recovery at start.
EXIT_STORAGE = 70

log = get_logger("node")


@dataclass(slots=True)
class Node:
    """A running node. `app` is the ASGI application of both planes; `modules` and `placement` are the services below
    it, for a program that embeds the host."""

    settings: Settings
    app: GatewayApp
    placement: Placement
    modules: Modules
    sockets: SocketGateway
    metrics: MetricsRegistry
    draining: bool = False

    async def drain(self) -> None:
        """Takes nothing new in and puts every actor to sleep; bounded by `settings.drain_seconds`."""
        self.draining = True
        log.info("draining", actors=sum(self.placement.directory.counts().values()), connections=len(self.sockets))
        with anyio.move_on_after(self.settings.drain_seconds) as scope:
            await self.placement.drain()
        if scope.cancelled_caught:
            log.warning("drain cut short", seconds=self.settings.drain_seconds)
        self.sockets.close_all()


@dataclass(slots=True)
class _WakeRelay:
    """Lets the services name placement before it exists: it is built from them."""

    placement: Placement | None = None

    def wake_at_changed(self, actor_id: str, wake_at: int | None) -> None:
        if self.placement is not None:
            self.placement.wake_at_changed(actor_id, wake_at)

    def destroy_asked(self, actor_id: str) -> None:
        if self.placement is not None:
            self.placement.destroy_asked(actor_id)

    def start_call(self, caller: Caller, call: DeferredCall, done: Done, hold: Hold) -> Callable[[], None]:
        assert self.placement is not None, "only an actor that placement has started makes calls"
        return self.placement.calls.start_call(caller, call, done, hold)


@asynccontextmanager
async def open_node(
    settings: Settings,
    *,
    clock: Clock | None = None,
    progress: Progress = no_progress,
    registered: Mapping[str, Registered] | None = None,
    egress: Mapping[str, EgressFunction] | None = None,
) -> AsyncGenerator[Node]:
    """Every layer of a node but the HTTP server. `registered` are the program's own definitions, by name,
    and `egress` its functions for what their actors send to the outside. Raises what
    keeps it from starting: a data directory in use, a schema that is newer, settings that do not go together."""
    settings.check()
    clock = clock or SystemClock()
    metrics = MetricsRegistry()
    gateway_id = new_id(os.urandom)
    async with AsyncExitStack() as stack:
        datadir = stack.enter_context(DataDir(settings.data_dir).open(random=os.urandom, now_ms=clock.now_ms()))
        if datadir.had_mode is not None:
            log.warning("data directory closed to other users", path=str(datadir.path), was=f"{datadir.had_mode:o}")
        storage = open_sqlite(datadir)
        await storage.open()
        stack.push_async_callback(_shielded, storage.close)
        tenants = Tenants(storage, clock, settings.limits, metrics)
        engine = Engine(profile=settings.profile, monotonic=clock.monotonic)
        stack.callback(engine.close)
        meter = CpuMeter(thread_time, tenants.charge)
        executor = await stack.enter_async_context(Executor(settings.threads, meter=meter))
        modules = Modules(
            storage,
            engine,
            executor,
            datadir.cache,
            datadir.key,
            settings.limits,
            clock,
            settings.allow_private_urls,
            metrics,
            url_hosts=settings.url_hosts,
            images=settings.images,
            progress=progress,
            tenants=tenants,
            registered=registered or (),
        )
        stack.push_async_callback(modules.close)
        await modules.warm()
        sockets = SocketGateway(
            gateway_id=gateway_id, limits=settings.limits, metrics=metrics, clock=clock, session_key=datadir.key
        )
        relay = _WakeRelay()
        services = Services(
            storage=storage,
            executor=executor,
            definitions=Registry(storage, modules, registered, clock=clock, metrics=metrics),
            gateway=sockets,
            wake=relay,
            calls=relay,
            egress=Egress(
                clock,
                metrics,
                allow_private=settings.allow_private_urls,
                hosts=settings.egress_hosts,
                functions=egress,
            ),
            tenants=tenants,
            clock=clock,
            metrics=metrics,
            random=os.urandom,
            limits=settings.limits,
            data_key=datadir.key,
            fatal=_die,
            failpoints=_failpoints(settings, sockets),
        )
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        placement = relay.placement = Placement(services, tasks)
        app = create_app(
            service=placement,
            modules=modules,
            storage=storage,
            sockets=sockets,
            auth=AuthPolicy(admin_token=settings.admin_token, public_actors=settings.public_actors, dev=settings.dev),
            limits=settings.limits,
            metrics=metrics,
            render_metrics=metrics.render,
            random=os.urandom,
            clock=clock,
            health=lambda: "draining" if node.draining else "up",
        )
        await placement.destroys.finish_all()
        # before any actor is awake: the sessions that the last start of the host left are held again
        expires_at = clock.now_ms() + settings.limits.session_window
        sockets.sessions.adopt(await storage.adopt_sessions(gateway_id, expires_at))
        node = Node(settings, app, placement, modules, sockets, metrics)
        _gauges(node)
        tasks.start_soon(modules.images.run, name="deployment images")
        watch = MemoryWatch(placement.directory, clock, metrics, read_memory, parse_reserve(settings.memory_reserve))
        tasks.start_soon(watch.run, name="memory watch")
        tasks.start_soon(placement.alarms.run, name="alarm clock")
        tasks.start_soon(placement.sweep_strays, name="stray connections")
        yield node


async def serve(
    settings: Settings, *, progress: Progress = no_progress, ready: Callable[[Node, int], None] | None = None
) -> None:
    """Runs a node behind its HTTP server until SIGINT or SIGTERM; a second signal ends the process at once. `ready` is
    called with the port once connections are accepted."""
    sock = None
    try:
        sock = bind(settings.host, settings.port)
    except OSError as error:
        raise UnavailableError(
            "node", "address_in_use", f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from None
    with sock:
        async with open_node(settings, progress=progress) as node, anyio.create_task_group() as watching:
            async with anyio.create_task_group() as serving:
                server = HostServer(node.app, sock, settings.limits)
                await serving.start(server.run)
                log.info("listening", host=settings.host, port=server.port)
                if ready is not None:
                    ready(node, server.port)
                await _until_signal(watching)
                await server.stop(node.drain)
            watching.cancel_scope.cancel()


async def _until_signal(tasks: TaskGroup) -> None:
    """Returns at the first SIGINT or SIGTERM, leaving a task behind that makes the second one final."""
    first = anyio.Event()

    async def watch() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if first.is_set():
                    log.warning("second signal, ending at once", signal=number.name)
                    os._exit(128 + number.value)
                log.info("stopping", signal=number.name)
                first.set()

    tasks.start_soon(watch, name="signals")
    await first.wait()


def run(
    settings: Settings, *, progress: Progress = no_progress, ready: Callable[[Node, int], None] | None = None
) -> None:
    """`serve` in an event loop of its own, with logging set up."""
    configure_logging(format=settings.log_format, level=settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL)

    async def main() -> None:
        await serve(settings, progress=progress, ready=ready)

    with suppress(KeyboardInterrupt):
        anyio.run(main, backend_options={"use_uvloop": True})


def _gauges(node: Node) -> None:
    directory, metrics = node.placement.directory, node.metrics
    for state in ("starting", "running", "stopping", "failed"):
        metrics.gauge_from(f"actors_{state}", lambda state=state: float(directory.counts().get(state, 0)))  # type: ignore[misc]
    metrics.gauge_from("mailbox_events", lambda: float(directory.waiting()))
    metrics.gauge_from("connections", lambda: float(len(node.sockets)))


def _die(error: BaseException) -> None:
    log.critical("storage cannot tell what it committed; ending the process to recover at start", error=str(error))
    os._exit(EXIT_STORAGE)


def _failpoints(settings: Settings, sockets: SocketGateway) -> FailPoints:
    """Switched off but for tests of crashes. A point may be passed on any thread; sockets belong to this one."""
    if settings.failpoint is None:
        return OFF
    wanted = parse_failpoint(settings.failpoint)
    loop = asyncio.get_running_loop()

    def act(point: FailPoint) -> None:
        if wanted.action == "trace":
            log.info("fail point", point=point.value)
            return
        log.warning("fail point", point=point.value, action=wanted.action)
        if wanted.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif wanted.action == "trap":
            raise GuestFault("trap", f"the fail point {point.value}")
        else:
            loop.call_soon_threadsafe(sockets.cut_all)

    return FailPoints(wanted.point, act, nth=wanted.nth, every=wanted.action == "trace")


async def _shielded(close: Callable[[], object]) -> None:
    with anyio.CancelScope(shield=True):
        result = close()
        if hasattr(result, "__await__"):
            await result
