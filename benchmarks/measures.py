"""The measures, one function each: a run gives one number."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import websockets

from benchmarks.bench import BenchHost, bench_host, run_load
from benchmarks.stock_client import actions_through_one_connection, what_is_missing

__all__ = ["MEASURES", "Measure"]

ACTORS = 32
LOAD_SECONDS = 3.0
SMALL, LARGE = 64, 16 * 1024
CALLS = 40
IN_FLIGHT = 32
CROWD, WAVE = 1_000, 50


@dataclass(frozen=True, slots=True)
class Measure:
    """`goal` is what the number should reach, from above when `least` else from below. `missing` says why a machine
    cannot measure it."""

    name: str
    unit: str
    goal: float
    least: bool
    run: Callable[[], float]
    missing: Callable[[], str | None] = lambda: None


def _load(path: str, sockets: int, depth: int, size: int, field: str) -> Callable[[], float]:
    def run() -> float:
        with bench_host() as host:
            urls = [host.socket_url(host.actor(f"k{number}"), path) for number in range(sockets)]
            result: float = run_load(urls, depth, size, LOAD_SECONDS)[field]
            return result

    return run


def _actions() -> float:
    """Actions a second through one /connect connection in the encoding of RivetKit's client."""
    with bench_host() as host:
        urls = [host.connect_url(host.actor("k"))]
        per_second: float = run_load(urls, IN_FLIGHT, SMALL, LOAD_SECONDS, "bare")["per_second"]
        return per_second


def _first_action() -> float:
    """Median time, in ms, of the first action of actors that were created but never started."""
    with bench_host() as host:
        ids = [host.actor(f"k{number}") for number in range(CALLS + 1)]
        return statistics.median([_time_action(host, actor_id) for actor_id in ids][1:])


def _time_action(host: BenchHost, actor_id: str) -> float:
    began = time.perf_counter()
    host.http.post(f"/gateway/{actor_id}/action/noop", json={"args": []}).raise_for_status()
    return (time.perf_counter() - began) * 1_000


def _wake() -> float:
    """Median time, in ms, from a message to a sleeping actor to its answer."""

    async def run(host: BenchHost) -> float:
        actor_id = host.actor("k")
        times = []
        async with websockets.connect(host.socket_url(actor_id, "put"), compression=None) as socket:
            for _ in range(CALLS):
                await asyncio.to_thread(host.sleep, actor_id)
                began = time.perf_counter()
                await socket.send(b"wake")
                await socket.recv()
                times.append((time.perf_counter() - began) * 1_000)
        return statistics.median(times)

    with bench_host() as host:
        return asyncio.run(run(host))


def _memory(*, asleep: bool) -> Callable[[], float]:
    """Private memory of the host for each actor with an idle socket, in KiB: `CROWD` actors against none. They come in
    waves; asleep, each wave sleeps before the next one comes."""

    async def crowd(host: BenchHost, ids: list[str]) -> float:
        sockets: list[websockets.ClientConnection] = []

        async def wave(some: list[str]) -> None:
            fresh = [await websockets.connect(host.socket_url(one), compression=None) for one in some]
            for socket in fresh:
                await socket.send(b"hello")
            for socket in fresh:
                await socket.recv()
            sockets.extend(fresh)
            if asleep:
                await asyncio.to_thread(host.sleep_all, some)

        await wave(ids[:WAVE])
        before = host.private_kib()
        for start in range(WAVE, WAVE + CROWD, WAVE):
            await wave(ids[start : start + WAVE])
        each = (host.private_kib() - before) / CROWD
        for socket in sockets:
            socket.transport.abort()
        return each

    def run() -> float:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        with bench_host() as host:
            ids = [host.actor(f"k{number}") for number in range(CROWD + WAVE)]
            return asyncio.run(crowd(host, ids))

    return run


MEASURES = (
    Measure(
        "32 sockets, 8 in flight, 64 B echo with a KV put",
        "messages/s",
        8_000,
        True,
        _load("put", ACTORS, 8, SMALL, "per_second"),
    ),
    Measure("the same without a put", "messages/s", 9_000, True, _load("", ACTORS, 8, SMALL, "per_second")),
    Measure("1 socket, 1 in flight, 64 B echo with a put, p50", "ms", 0.8, False, _load("put", 1, 1, SMALL, "p50_ms")),
    Measure(
        "32 sockets, 8 in flight, 16 KiB echo with a put",
        "messages/s",
        3_000,
        True,
        _load("put", ACTORS, 8, LARGE, "per_second"),
    ),
    Measure("1 /connect connection, 32 actions in flight, 64 B echo", "actions/s", 3_000, True, _actions),
    Measure(
        "RivetKit's client, 1 connection, 32 actions in flight",
        "actions/s",
        3_000,
        True,
        actions_through_one_connection,
        what_is_missing,
    ),
    Measure("first action of a new actor, module compiled, p50", "ms", 4.0, False, _first_action),
    Measure("wake by a message to its answer, p50", "ms", 3.0, False, _wake),
    Measure("memory of an actor awake with an idle socket", "KiB", 400, False, _memory(asleep=False)),
    Measure("memory of an actor asleep with an idle socket", "KiB", 30, False, _memory(asleep=True)),
)
