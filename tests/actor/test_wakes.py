"""Every cause of waking takes the one start path: whatever it is, what can be seen of the start is the same. And one
start is enough for any number of causes and of connections."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from host.actor.starting import Start
from host.bridge.envelopes import StartEvent
from host.model.effects import CommitUnit
from host.model.records import ConnectionRow
from host.model.tunnel import Opened
from host.storage.memory import MemoryDriver
from tests.actor.fake_gateway import Line, Socket
from tests.actor.harness import CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

GUEST = """
import { actor } from "isolate";
export default actor({
  state: { log: [] },
  onWake(c) { c.state.log.push("wake"); },
  onWebSocket(c, ws, { restored }) {
    c.state.log.push([restored ? "restored" : "opened", ws.path, ws.state ?? null]);
    ws.onmessage = (e) => {
      if (e.data === "mark") { ws.state = ws.path; return; }
      if (e.data === "slow") return new Promise((done) => setTimeout(done, 5000));
      c.state.log.push("message");
      ws.send(`${e.rivetMessageIndex}`);
    };
    ws.onclose = () => { c.state.log.push("close"); };
  },
  onRequest(c) { c.state.log.push("request"); return new Response("ok"); },
  onAlarm(c) { c.state.log.push("alarm"); },
  actions: {
    set(c, after) { return c.alarms.set("x", { after }).then(() => null); },
    act(c) { c.state.log.push("action"); },
    quiet(c) {},
    clear(c) { c.state.log = []; },
    crash(c) { for (let i = 0; i < 1000; i++) c.kv.get("x").catch(() => {}); },
  },
});
"""

ALARM_AFTER = 100


@dataclass
class Scene:
    """Two sockets that stay, and a third for what is done to it; each has sent one message and has a state."""

    h: Harness
    actor: str
    stay: list[Socket] = field(default_factory=list)
    other: Socket | None = None

    @property
    def third(self) -> Socket:
        assert self.other is not None
        return self.other


async def prepared(h: Harness) -> Scene:
    scene = Scene(h, await h.new(GUEST, limits={"host_calls": 64}))
    sockets = [await h.open(scene.actor, path=f"/{name}") for name in "abc"]
    for socket in sockets:
        socket.send("mark")
    await h.call(scene.actor, "set", ALARM_AFTER * 1_000)
    *scene.stay, scene.other = sockets
    await h.rest()
    return scene


Cause = Callable[[Scene], Awaitable[None]]


async def an_action(scene: Scene) -> None:
    await scene.h.call(scene.actor, "act")


async def a_request(scene: Scene) -> None:
    assert (await scene.h.request(scene.actor)).status == 200


async def a_message(scene: Scene) -> None:
    scene.third.send("x")


async def an_open(scene: Scene) -> None:
    await scene.h.open(scene.actor, path="/new")


async def a_close(scene: Scene) -> None:
    scene.third.close()


async def an_alarm(scene: Scene) -> None:
    await scene.h.advance(ALARM_AFTER)


async def a_restart_after_a_fault(scene: Scene) -> None:
    assert (await scene.h.error(scene.actor, "crash")).name == "guest/budget"


async def a_message_during_its_falling_asleep(scene: Scene) -> None:
    h = scene.h
    h.storage.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.sleep, scene.actor)
        await h.storage.until_held()
        scene.third.send("x")
        await h.rest()
        h.storage.release()


async def a_sweep(scene: Scene) -> None:
    """A connection whose gateway is gone: what the sweep does for each actor that has one."""
    scene.h.gateway.held.pop(scene.third.conn)
    scene.h.placement._poke(scene.actor, "stale connections")


CAUSES: dict[Cause, list[Any]] = {
    an_action: ["action"],
    a_request: ["request"],
    a_message: ["message"],
    an_open: [["opened", "/new", None]],
    a_close: ["close"],
    an_alarm: ["alarm"],
    a_restart_after_a_fault: [],
    a_message_during_its_falling_asleep: ["message"],
    a_sweep: ["close"],
}


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[StartEvent]:
    """Every start event that an isolate is given."""
    seen: list[StartEvent] = []
    true = Start.event

    def event(self: Start, *args: Any) -> StartEvent:
        seen.append(true(self, *args))
        return seen[-1]

    monkeypatch.setattr(Start, "event", event)
    return seen


async def check_the_start(scene: Scene, before: int, epoch: int, start: StartEvent, reason: str) -> None:
    """What has to be the same for every cause."""
    h = scene.h
    assert (start.id, start.reason, start.actor, start.generation) == (1, reason, scene.actor, 1)
    assert (start.name, start.key, start.connection_count) == ("a", ["k"], 3)
    record = await h.record(scene.actor)
    assert (record.epoch, record.lifecycle, record.attempt) == (epoch + 1, "asleep", 0)
    assert h.state(scene.actor) == "running"
    lines = h.history[before:]
    first = next(place for place, line in enumerate(lines) if line[0] == "commit" and unit_of(line).claims)
    assert unit_of(lines[first]).epoch == epoch + 1
    stay = {socket.conn for socket in scene.stay}
    rebinds = [place for place, line in enumerate(lines) if line[0] == "rebind" and line[1] in stay]
    assert [lines[place][1:] for place in rebinds] == [(socket.conn, 1) for socket in scene.stay]
    # The claim, then the bindings, and only then what goes out for a queued event.
    outputs = [place for place, line in enumerate(lines) if line[0] in ("frame", "reply", "opened")]
    assert first < min(rebinds)
    assert all(max(rebinds) < place for place in outputs)
    rows = {row.conn_id: row for row in (await h.image(scene.actor)).connections}
    for socket in scene.stay:
        row = rows[socket.conn]
        assert (row.msg_index, row.settled_ahead, json.loads(row.state or b"null")) == (1, (), row.path)
        assert (socket.closed, socket.buffer) == (None, {})


def unit_of(line: Line) -> CommitUnit:
    unit = line[2]
    assert isinstance(unit, CommitUnit)
    return unit


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
async def test_whatever_wakes_an_actor_what_can_be_seen_of_its_start_is_the_same(
    h: Harness, starts: list[StartEvent], cause: Cause
) -> None:
    scene = await prepared(h)
    await h.call(scene.actor, "clear")
    lost = cause is a_restart_after_a_fault
    if not lost and cause is not a_message_during_its_falling_asleep:
        await h.asleep(scene.actor)
    before, epoch, wakes = len(h.history), (await h.record(scene.actor)).epoch, len(starts)
    await cause(scene)
    await h.rest()
    (start,) = starts[wakes:]
    await check_the_start(scene, before, epoch, start, "restart" if lost else "wake")
    log = (await h.document(scene.actor))["log"]
    restored = [["restored", f"/{name}", f"/{name}"] for name in ("abc" if len(log) else "")]
    assert log == ["wake", *restored, *CAUSES[cause]]
    # And it goes on as if nothing had been.
    scene.stay[0].send("x")
    assert (await scene.stay[0].received(1)) == ["2"]


async def test_a_restore_on_another_host_process_is_the_same_start(shelf: CodeShelf, starts: list[StartEvent]) -> None:
    driver: Any = MemoryDriver()
    async with open_harness(shelf, driver) as h:
        scene = await prepared(h)
        await h.call(scene.actor, "clear")
    async with open_harness(shelf, driver) as h:
        again = Scene(h, scene.actor)
        for socket in (*scene.stay, scene.third):
            back = Socket(h.gateway, socket.opened)
            back.last, back.acked, back.open_acked = socket.last, socket.acked, True
            h.gateway.held[socket.conn] = back
            again.stay.append(back)
        again.other = again.stay.pop()
        epoch = (await h.record(scene.actor)).epoch
        await h.call(scene.actor, "act")
        await check_the_start(again, 0, epoch, starts[-1], "wake")
        log = (await h.document(scene.actor))["log"]
        assert log == ["wake", *(["restored", f"/{name}", f"/{name}"] for name in "abc"), "action"]


async def test_a_thousand_clients_that_hit_a_sleeping_actor_make_one_wake(h: Harness, starts: list[StartEvent]) -> None:
    actor = await h.new(GUEST, limits={"host_calls": 64})
    waiting = [await h.open(actor, path=f"/{number}") for number in range(200)]
    await h.asleep(actor)
    starts.clear()
    hydrations = h.storage.hydrations
    done: list[object] = []

    async def ask() -> None:
        done.append(await h.call(actor, "quiet"))

    async def request() -> None:
        done.append((await h.request(actor)).status)

    async def connect() -> None:
        done.append(await h.open(actor, path="/new"))

    h.storage.hold_starts()
    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            for _ in range(400):
                tasks.start_soon(ask)
            for _ in range(200):
                tasks.start_soon(request)
                tasks.start_soon(connect)
            for socket in waiting:
                socket.send("x")
            await h.storage.until_start_held()
            await h.rest()
            h.storage.release()
    await h.rest()
    assert len(done) == 800
    assert all(socket.frames == ["1"] for socket in waiting)
    assert (len(starts), h.storage.hydrations) == (1, hydrations + 1)
    assert (await h.record(actor)).epoch == 2


COUNTS = """
import { actor } from "isolate";
let seen = 0, last = "", ordered = true, extra = 0, opened = [];
export default actor({
  state: { log: [] },
  onWebSocket(c, ws, { restored }) {
    if (!restored) { opened.push(seen); return; }
    seen += 1;
    ordered = ordered && last < ws.id;
    last = ws.id;
    extra += ws.state ? ws.state.length : 0;
    ws.onmessage = () => ws.send(`${seen}`);
  },
  actions: { counted(c) { return [seen, ordered, extra, opened]; } },
});
"""


async def with_rows(h: Harness, actor: str, count: int, state: bytes | None = None) -> list[Socket]:
    """So many connections, as rows on disk and held by the gateway."""
    record = await h.record(actor)
    rows = [
        ConnectionRow(f"{number:032x}", h.gateway.gateway_id, "r", 1, 0, f"/{number}", 0, 0, state=state)
        for number in range(count)
    ]
    unit = CommitUnit(actor, 1, record.epoch + 1, record.hop_seq + 1, claims=True, connections=tuple(rows))
    await h.storage.driver.commit(unit)
    sockets = []
    for row in rows:
        opened = Opened(actor, row.conn_id, row.gateway_id, "r", row.path, (), None, 0)
        socket = h.gateway.held[row.conn_id] = Socket(h.gateway, opened)
        socket.open_acked = True
        sockets.append(socket)
    return sockets


async def test_ten_thousand_connections_are_paged_through_in_order_before_anything_else(
    h: Harness, starts: list[StartEvent]
) -> None:
    actor = await h.new(COUNTS)
    await h.call(actor, "counted")
    await h.asleep(actor)
    sockets = await with_rows(h, actor, 10_000)
    jobs = h.executor.jobs
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await h.call(actor, "counted"))

    with anyio.fail_after(h.services.limits.start_timeout / 1_000):
        async with anyio.create_task_group() as tasks:
            sockets[0].send("x")
            tasks.start_soon(ask)
            tasks.start_soon(partial(h.open, actor, conn_id="f" * 32))
            await h.rest()
            await h.advance(1)
    assert starts[-1].connection_count == 10_000
    assert h.executor.jobs - jobs >= 10_000 // 256, "a page a turn"
    ((seen, ordered, _, _),) = answers
    assert (seen, ordered) == (10_000, True)
    assert sockets[0].frames == ["10000"], "what was queued waited for all of them"
    assert (await h.call(actor, "counted"))[3] == [10_000]
    assert [line[1] for line in h.happened("rebind")] == [socket.conn for socket in sockets]
    assert len((await h.image(actor)).connections) == 10_001


@pytest.mark.parametrize("budget", [4 << 20, 256 << 10, 32 << 10])
async def test_pages_that_are_too_long_for_the_budget_of_a_turn_do_not_break_the_start(h: Harness, budget: int) -> None:
    await h.define(COUNTS, limits={"host_call_bytes": budget})
    actor = await h.actor()
    await h.call(actor, "counted")
    await h.asleep(actor)
    length = 15_000
    await with_rows(h, actor, 400, msgspec.json.encode("s" * length))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.call, actor, "counted")
        await h.advance(1)
    assert (await h.call(actor, "counted"))[:3] == [400, True, 400 * length]
    assert h.count("guest_faults") == 0
