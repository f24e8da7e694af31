"""D6 in full: what becomes of an event in work when its isolate goes, by what it was, by what of it was on disk, and by
what took the isolate away.

A cell that cannot be: an event in work of which nothing is on disk, while the isolate goes by another event's fault or
by a grace that ran out. A fault commits the turns before it, and a grace is over only between hops; so only a commit
that fails loses an event with nothing on disk. What has not begun at all waits, and is tested beside it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from tests.actor.fake_gateway import Socket
from tests.actor.harness import Failed, Harness

pytestmark = pytest.mark.anyio

KINDS = ("message", "action", "alarm", "close", "open")
WAIT = 20

WORKER = """
import { actor } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
const note = async (c, key, value) => {
  const list = JSON.parse((await c.kv.get(key)) ?? "[]");
  list.push(value);
  await c.kv.put(key, JSON.stringify(list));
};
const work = async (c, kind, attempt) => {
  await note(c, "begun", [kind, attempt]);
  await later(20000);
  await note(c, "done", [kind, attempt]);
};
export default actor({
  state: { n: 0 },
  async onWebSocket(c, ws, { restored }) {
    ws.onmessage = (e) => work(c, "message", e.attempt);
    ws.onclose = () => work(c, "close", 0);
    if (ws.path === "/work" && !restored) await work(c, "open", 0);
  },
  onAlarm(c, alarm) { return work(c, "alarm", alarm.attempt); },
  actions: {
    work(c) { return work(c, "action", 0); },
    async set(c, after) { await c.alarms.set("x", { after }); },
    inc(c) { return ++c.state.n; },
    crash(c) { for (let i = 0; i < 1000; i++) c.kv.get("x").catch(() => {}); },
    async read(c, key) { return JSON.parse((await c.kv.get(key)) ?? "[]"); },
  },
});
"""

Loss = Callable[[Harness, str], Awaitable[None]]


async def another_events_fault(h: Harness, actor: str) -> None:
    assert (await h.error(actor, "crash")).name == "guest/budget"


async def a_commit_that_fails(h: Harness, actor: str) -> None:
    h.storage.unavailable()
    assert (await h.error(actor, "inc")).name == "storage/unavailable"


async def a_fence(h: Harness, actor: str) -> None:
    h.storage.fenced()
    assert (await h.error(actor, "inc")).name == "actor/aborted"


async def a_grace_that_runs_out(h: Harness, actor: str) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.sleep, actor)
        await h.advance(15)


class Scene:
    """One actor and one event of a kind; `answers` collects what an action ends with."""

    def __init__(self, h: Harness, tasks: TaskGroup, kind: str) -> None:
        self.h = h
        self.tasks = tasks
        self.kind = kind
        self.actor = ""
        self.socket: Socket | None = None
        self.answers: list[str] = []

    async def prepare(self) -> None:
        """Everything but the event."""
        self.actor = await self.h.new(WORKER, limits={"host_calls": 64})
        if self.kind in ("message", "close"):
            self.socket = await self.h.open(self.actor)
        elif self.kind == "alarm":
            await self.h.call(self.actor, "set", 1_000)
        else:
            await self.h.call(self.actor, "inc")
        await self.h.rest()

    async def cause(self) -> None:
        if self.kind == "message":
            assert self.socket is not None
            self.socket.send("work")
        elif self.kind == "close":
            assert self.socket is not None
            self.socket.close()
        elif self.kind == "alarm":
            await self.h.advance(1)
        elif self.kind == "open":
            self.socket = await self.h.gateway.open(self.actor, path="/work")
        else:
            self.tasks.start_soon(self._ask)
        await self.h.rest()

    async def _ask(self) -> None:
        try:
            await self.h.call(self.actor, "work")
            self.answers.append("done")
        except Failed as failed:
            self.answers.append(failed.name)

    async def recorded(self) -> tuple[int, int] | None:
        """(attempt to come, faults) as on disk."""
        image = await self.h.image(self.actor)
        if self.kind == "alarm":
            (row,) = image.alarms
            return row.attempt + 1, row.faults
        for attempt in image.attempts:
            return attempt.attempt, attempt.faults
        return None

    async def read(self, key: str) -> Any:
        return await self.h.call(self.actor, "read", key)


def event(kind: str, attempt: int) -> list[Any]:
    return [kind, attempt if kind in ("message", "alarm") else 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "loss", [another_events_fault, a_commit_that_fails, a_fence, a_grace_that_runs_out], ids=lambda each: each.__name__
)
async def test_an_event_with_a_turn_on_disk_runs_again_as_a_further_attempt_or_is_aborted(
    h: Harness, kind: str, loss: Loss
) -> None:
    async with anyio.create_task_group() as tasks:
        scene = Scene(h, tasks, kind)
        await scene.prepare()
        await scene.cause()
        assert await scene.read("begun") == [event(kind, 1)]
        wakes = epoch_of(await h.record(scene.actor))
        await loss(h, scene.actor)
        await h.advance(1)
        own = loss is a_grace_that_runs_out
        if kind == "open" and own:
            # An open has one attempt of its own, and a grace that ran out is its own fault.
            assert scene.socket is not None
            assert scene.socket.closed == (1011, "actor.action_timed_out")
            assert (await h.image(scene.actor)).connections == ()
            return
        if kind == "action":
            await h.call(scene.actor, "inc")  # nothing that waits wakes the actor again
        assert epoch_of(await h.record(scene.actor)) > wakes
        if kind == "action":
            assert scene.answers == ["actor/aborted"]
            assert await scene.read("begun") == [event(kind, 1)]
            await h.advance(2 * WAIT)
            assert await scene.read("done") == []
            return
        if kind in ("message", "close", "alarm"):
            assert await scene.recorded() == (2, 1 if own else 0)
        assert await scene.read("begun") == [event(kind, 1), event(kind, 2)]
        await h.advance(WAIT)
        assert await scene.read("done") == [event(kind, 2)]
        await h.advance(2 * WAIT)
        assert await scene.read("begun") == [event(kind, 1), event(kind, 2)]
        assert (await h.image(scene.actor)).attempts == ()
        assert (await h.image(scene.actor)).alarms == ()
        assert await h.letters(scene.actor) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fenced", [False, True], ids=["a_commit_that_fails", "a_fence"])
async def test_an_event_with_nothing_on_disk_is_delivered_as_if_for_the_first_time(
    h: Harness, kind: str, fenced: bool
) -> None:
    async with anyio.create_task_group() as tasks:
        scene = Scene(h, tasks, kind)
        await scene.prepare()
        if fenced:
            h.storage.fenced()
        else:
            h.storage.unavailable()
        await scene.cause()
        await h.advance(1)
        await h.call(scene.actor, "inc")
        if kind == "action":
            assert scene.answers == ["actor/aborted" if fenced else "storage/unavailable"]
            assert await scene.read("begun") == []
            return
        assert await scene.read("begun") == [event(kind, 1)]
        if kind != "alarm":
            assert await scene.recorded() is None
        await h.advance(WAIT)
        assert await scene.read("done") == [event(kind, 1)]
        await h.advance(2 * WAIT)
        assert await scene.read("begun") == [event(kind, 1)]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_event_that_has_not_begun_waits_for_the_next_isolate(h: Harness, kind: str) -> None:
    async with anyio.create_task_group() as tasks:
        scene = Scene(h, tasks, kind)
        await scene.prepare()
        h.executor.hold()
        tasks.start_soon(another_events_fault, h, scene.actor)
        await h.executor.until_held()
        await scene.cause()
        h.executor.release()
        await h.rest()
        assert await scene.read("begun") == [event(kind, 1)]
        await h.advance(WAIT)
        assert await scene.read("done") == [event(kind, 1)]
        if kind == "action":
            assert scene.answers == ["done"]


async def test_the_attempt_that_a_failed_commit_could_not_record_is_on_disk_before_it_begins(h: Harness) -> None:
    async with anyio.create_task_group() as tasks:
        scene = Scene(h, tasks, "message")
        await scene.prepare()
        await scene.cause()
        await a_commit_that_fails(h, scene.actor)
        before = len(h.storage.units)
        await h.advance(1)
        begun, done = h.storage.units[before], h.storage.units[before + 1 :]
        assert (begun.claims, [row.attempt for row in begun.attempts]) == (True, [2])
        assert not any(json.dumps(["message", 2]).encode() in repr(op).encode() for op in begun.kv)
        assert [row for unit in done for row in unit.attempts] == []


def epoch_of(record: Any) -> int:
    epoch: int = record.epoch
    return epoch
