"""What a definition may change for its actors: each limit that is adjustable, lowered and where it can be raised; and
each kill or refusal names limit, used and allowed, and is counted by the limit's name."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from host.model.errors import ErrorInfo
from host.model.limits import LIMITS, Limits
from tests.actor.harness import TENANT, CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

KIB = 1024
MIB = 1024 * KIB

GREEDY = """
import { actor } from "isolate";
const text = (n) => "x".repeat(n);
const told = async (work) => {
  try { await work(); return "done"; } catch (e) { return { code: e.code, metadata: e.metadata }; }
};
export default actor({
  state: { text: "" },
  vars: {},
  onRequest: async (c, request) => new Response(text(Number(new URL(request.url).searchParams.get("n")))),
  onWebSocket(c, ws) { ws.onmessage = (e) => ws.send(String(e.data.length)); },
  onAlarm: async (c, alarm) => {
    const left = alarm.payload ?? 0;
    c.state.text += alarm.id[0];
    if (left > 0) await c.alarms.set(alarm.id, { at: 1, payload: left - 1 });
  },
  actions: {
    ok: () => 1,
    spin() { for (;;); },
    spinFor(c, n) { let x = 0; for (let i = 0; i < n; i++) x += i; return x > 0; },
    grow(c, n) {
      const kept = [];
      for (let i = 0; i < n; i++) kept.push(new Uint8Array(1024 * 1024).fill(1));
      return kept.length;
    },
    calls(c, n) { for (let i = 0; i < n; i++) c.kv.get("x").catch(() => {}); return n; },
    bytes(c, n) { for (let i = 0; i < n; i++) c.kv.put("x", text(64 * 1024)).catch(() => {}); return n; },
    async once(c, n) { for (let i = 0; i < n; i++) await c.kv.get("x"); },
    state(c, n) { c.state.text = text(n); },
    result: (c, n) => text(n),
    length: (c, given) => given.length,
    put: (c, key, n) => told(() => c.kv.put(key, text(n))),
    del: (c, key) => told(() => c.kv.delete(key)),
    alarm: (c, id, after, payload) => told(() => c.alarms.set(id, { after, payload })),
    cron: (c, name) => told(() => c.cron.every({ name, interval: 60000, action: "cron" })),
    past: (c, id, payload) => told(() => c.alarms.set(id, { at: 1, payload })),
    get: (c) => c.state.text,
    never: () => new Promise((done) => setTimeout(done, 1e8)),
    timers(c, n) {
      let set = 0;
      try { for (; set < n; set++) setTimeout(() => {}, 1e6); } catch (e) { return [set, e.code, e.metadata]; }
      return [set];
    },
    cleared(c, n) {
      for (let i = 0; i < n; i++) clearTimeout(setTimeout(() => {}, 1e6));
      clearTimeout(c.vars.last);
      c.vars.last = setTimeout(() => {}, 1e6);
    },
    fetches: (c, n) => Promise.all([...Array(n)].map(() => told(() => fetch("https://x.example/")))),
    ask: (c, timeout) => told(() => c.client().a.get(["k"]).action({ name: "never", timeout })),
    recurse: () => { const f = (n) => [f(n + 1)]; try { return f(0); } catch (e) { return e.name; } },
  },
});
"""


async def greedy(h: Harness, **limits: int) -> str:
    return await h.new(GREEDY, limits=limits)


def told(error: ErrorInfo) -> tuple[str, str, int, int]:
    """(error, limit, used, allowed)"""
    assert error.metadata is not None, error
    said = json.loads(error.metadata)
    assert set(said) == {"limit", "used", "allowed"}
    assert said["used"] >= said["allowed"] or said["limit"] in ("memory",)
    return error.name, said["limit"], said["used"], said["allowed"]


def counted(h: Harness, limit: str, times: int = 1) -> bool:
    return h.count("limits", limit) == times


# --- faults ----------------------------------------------------------------------------------------------------------


async def test_turn_deadline(h: Harness) -> None:
    actor = await greedy(h, turn_deadline=50)
    assert told(await h.error(actor, "spin")) == ("guest/deadline", "turn_deadline", 50, 50)
    assert counted(h, "turn_deadline")
    assert await h.call(actor, "ok") == 1


async def test_turn_deadline_raised(h: Harness) -> None:
    # about 0.1 s of work is far more than 10 ms, and far less than 5 s
    assert (await h.error(await greedy(h, turn_deadline=10), "spinFor", 2_000_000)).name == "guest/deadline"
    assert await h.call(await greedy(h, turn_deadline=5_000), "spinFor", 2_000_000) is True


async def test_memory(h: Harness) -> None:
    actor = await greedy(h, memory=16 * MIB)
    error = await h.error(actor, "grow", 40)
    assert error.name in ("guest/memory", "internal/internal_error"), error
    assert await h.call(actor, "ok") == 1


async def test_memory_raised(h: Harness) -> None:
    actor = await greedy(h, memory=256 * MIB)
    assert await h.call(actor, "grow", 80) == 80


async def test_host_calls(h: Harness) -> None:
    actor = await greedy(h, host_calls=100)
    assert await h.call(actor, "calls", 50) == 50
    name, limit, used, allowed = told(await h.error(actor, "calls", 1_000))
    assert (name, limit, allowed) == ("guest/budget", "host_calls", 100)
    assert used > allowed
    assert counted(h, "host_calls", 2)  # told so once, then ended
    # A guest that heeds the first refusal lives.
    assert (await h.error(actor, "once", 1_000)).name == "internal/internal_error"
    assert counted(h, "host_calls", 3)
    assert h.count("guest_faults") == 1


async def test_host_calls_raised(h: Harness) -> None:
    assert (await h.error(await greedy(h), "calls", 12_000)).name == "guest/budget"
    actor = await greedy(h, host_calls=20_000, turn_deadline=10_000)
    assert await h.call(actor, "calls", 12_000) == 12_000


async def test_host_call_bytes(h: Harness) -> None:
    actor = await greedy(h, host_call_bytes=200 * KIB)
    name, limit, _, allowed = told(await h.error(actor, "bytes", 20))
    assert (name, limit, allowed) == ("guest/budget", "host_call_bytes", 200 * KIB)
    assert counted(h, "host_call_bytes", 2)
    assert await h.call(actor, "bytes", 1) == 1


async def test_host_call_bytes_raised(h: Harness) -> None:
    assert (await h.error(await greedy(h), "bytes", 100)).name == "guest/budget"
    actor = await greedy(h, host_call_bytes=16 * MIB)
    assert await h.call(actor, "bytes", 100) == 100


async def test_state(h: Harness) -> None:
    actor = await greedy(h, state=1_000)
    name, limit, used, allowed = told(await h.error(actor, "state", 2_000))
    assert (name, limit, allowed) == ("guest/budget", "state", 1_000)
    assert used > 2_000
    assert await h.call(actor, "state", 500) is None
    assert len(await h.call(actor, "get")) == 500


async def test_effects(h: Harness) -> None:
    actor = await greedy(h, effects=100 * KIB)
    name, limit, _, allowed = told(await h.error(actor, "bytes", 3))
    assert (name, limit, allowed) == ("guest/budget", "effects", 100 * KIB)
    assert counted(h, "effects")


async def test_stack(h: Harness) -> None:
    actor = await greedy(h)
    assert await h.call(actor, "recurse") in ("RangeError", "InternalError")


# --- what comes in and goes out --------------------------------------------------------------------------------------


async def test_action(h: Harness) -> None:
    actor = await greedy(h, action=1_000)
    assert await h.call(actor, "length", "x" * 500) == 500
    for _ in ("awake", "asleep"):
        name, limit, used, allowed = told(await h.error(actor, "length", "x" * 2_000))
        assert (name, limit, allowed) == ("message/incoming_too_long", "action", 1_000)
        assert used > 2_000
        await h.asleep(actor)
    assert told(await h.error(actor, "result", 2_000))[:2] == ("message/outgoing_too_long", "action")
    assert counted(h, "action", 3)


async def test_body(h: Harness) -> None:
    actor = await greedy(h, body=1_000)
    assert len((await h.request(actor, "/?n=900")).body) == 900
    too_much = (await h.request(actor, "/?n=1100")).error
    assert too_much is not None
    assert told(too_much) == ("message/outgoing_too_long", "body", 1_100, 1_000)
    too_much = (await h.request(actor, "/?n=1", "POST", b"x" * 1_001)).error
    assert too_much is not None
    assert told(too_much) == ("message/incoming_too_long", "body", 1_001, 1_000)
    assert counted(h, "body", 2)


async def test_message(h: Harness) -> None:
    actor = await greedy(h, message=100)
    one, other = await h.open(actor), await h.open(actor)
    one.send("x" * 100)
    await h.rest()
    one.send("é" * 51)
    one.send("never seen")
    other.send("still here")
    assert await one.ended() == (1009, "message.incoming_too_long")
    await h.rest()
    assert (one.frames, other.frames, other.closed) == (["100"], ["10"], None)
    assert counted(h, "message")
    assert [row.conn_id for row in (await h.image(actor)).connections] == [other.conn]


async def test_connections(h: Harness) -> None:
    actor = await greedy(h, connections=3)
    assert h.placement.connections_allowed(actor) is None
    await h.call(actor, "ok")
    assert h.placement.connections_allowed(actor) == 3
    await h.asleep(actor)
    assert h.placement.connections_allowed(actor) is None


# --- faults of one event -------------------------------------------------------------------------------------------


async def test_one_crafted_message_suspends_neither_its_actor_nor_its_tenant(h: Harness) -> None:
    actor = await h.probe()
    other = await h.actor(key="other")
    crafted, fine = await h.open(actor), await h.open(actor)
    crafted.send("crash")
    fine.send("echo before")
    assert await crafted.ended() == (1011, "actor.poison_message")
    await h.rest()
    assert (h.count("guest_faults"), h.count("start_failures"), h.count("starts_refused")) == (3, 0, 0)
    fine.send("echo after")
    await h.rest()
    assert fine.frames == ["welcome", "echo before", "echo after"]
    assert await h.call(actor, "inc", 1) == 1
    assert await h.call(other, "inc", 1) == 1
    assert (await h.placement.usage(TENANT)).refusals == {}


# --- KV --------------------------------------------------------------------------------------------------------------


async def test_kv_actor(h: Harness) -> None:
    actor = await greedy(h, kv_actor=1_000)
    assert await h.call(actor, "put", "a", 900) == "done"
    refused = await h.call(actor, "put", "b", 200)
    assert (refused["code"], refused["metadata"]["limit"], refused["metadata"]["allowed"]) == (
        "exceeded",
        "kv_actor",
        1_000,
    )
    assert counted(h, "kv_actor")
    await h.call(actor, "del", "a")
    assert await h.call(actor, "put", "b", 200) == "done"


async def test_kv_keys(h: Harness) -> None:
    actor = await greedy(h, kv_keys=3)
    for key in ("a", "b", "c", "a", "b"):
        assert await h.call(actor, "put", key, 1) == "done"
    await h.asleep(actor)
    refused = await h.call(actor, "put", "d", 1)
    assert (refused["code"], refused["metadata"]) == ("exceeded", {"limit": "kv_keys", "used": 4, "allowed": 3})
    assert counted(h, "kv_keys")
    # Those that are there may be changed, known or not, and one that goes makes room.
    assert await h.call(actor, "put", "c", 2) == "done"
    await h.call(actor, "del", "c")
    assert await h.call(actor, "put", "d", 1) == "done"


# --- alarms and timers -----------------------------------------------------------------------------------------------


async def test_alarms(h: Harness) -> None:
    actor = await greedy(h, alarms=2)
    assert [await h.call(actor, "alarm", name, 60_000, None) for name in ("a", "b", "a")] == ["done"] * 3
    refused = await h.call(actor, "alarm", "c", 60_000, None)
    assert refused["metadata"] == {"limit": "alarms", "used": 3, "allowed": 2}
    assert counted(h, "alarms")


async def test_crons(h: Harness) -> None:
    actor = await greedy(h, crons=2)
    assert [await h.call(actor, "cron", name) for name in ("a", "b", "a")] == ["done"] * 3
    refused = await h.call(actor, "cron", "c")
    assert refused["metadata"] == {"limit": "crons", "used": 3, "allowed": 2}
    assert counted(h, "crons")
    assert [row.alarm_id for row in (await h.image(actor)).alarms] == ["$cron:a", "$cron:b"]


async def test_a_chain_of_alarms_that_are_always_due_does_not_spin(h: Harness) -> None:
    actor = await greedy(h)
    assert await h.call(actor, "past", "chain", 5) == "done"
    fired = []
    for _ in range(6):
        await h.rest()
        fired.append(len(await h.call(actor, "get")))
        await h.advance(0.010)
    assert fired == [1, 2, 3, 4, 5, 6]


async def test_a_chained_alarm_keeps_the_time_that_was_asked_for(h: Harness) -> None:
    actor = await greedy(h)
    await h.call(actor, "past", "chain", 2)
    await h.rest()
    (row,) = (await h.image(actor)).alarms
    assert (row.scheduled_at, row.due_at) == (1, h.clock.now_ms() + 10)


async def test_an_alarm_of_the_past_that_no_alarm_sets_fires_now(h: Harness) -> None:
    actor = await greedy(h)
    for number in range(1, 4):
        await h.call(actor, "past", f"a{number}", None)
        await h.rest()
        assert await h.call(actor, "get") == "a" * number


async def test_timers_of_a_tenant_are_bounded_together(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_timers=10, timers=8)) as h:
        await h.define(GREEDY)
        one, other = await h.actor(key="1"), await h.actor(key="2")
        assert await h.call(one, "timers", 7) == [7]
        assert h.tenants.timer_room(TENANT) == (7, 10)
        assert (await h.call(other, "timers", 5))[:1] == [3]
        assert h.tenants.timer_room(TENANT) == (10, 10)
        assert h.count("limits", "tenant_timers") >= 1
        await h.asleep(one)
        assert h.tenants.timer_room(TENANT) == (3, 10)
        assert await h.call(other, "timers", 2) == [2]
        await h.advance(1_001)
        assert h.tenants.timer_room(TENANT) == (0, 10)


async def test_a_timer_that_is_cleared_no_longer_counts(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_timers=10, timers=2)) as h:
        await h.define(GREEDY)
        actor = await h.actor(key="1")
        for _ in range(3):
            await h.call(actor, "cleared", 100)
            assert h.tenants.timer_room(TENANT) == (1, 10)
        await h.asleep(actor)
        assert h.tenants.timer_room(TENANT) == (0, 10)


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [2_000, 120_000])
async def test_handler_timeout(h: Harness, allowed: int) -> None:
    actor = await greedy(h, handler_timeout=allowed)
    errors: list[ErrorInfo] = []

    async def ask() -> None:
        errors.append(await h.error(actor, "never"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        await h.advance(allowed / 1_000 - 1)
        assert errors == []
        await h.advance(1.5)
    assert told(errors[0]) == ("actor/action_timed_out", "handler_timeout", allowed, allowed)
    assert counted(h, "handler_timeout")


@pytest.mark.parametrize("allowed", [2_000, 120_000])
async def test_sleep_timeout(h: Harness, allowed: int) -> None:
    actor = await greedy(h, sleep_timeout=allowed)
    await h.call(actor, "ok")
    await h.advance(allowed / 1_000 - 1)
    assert h.state(actor) == "running"
    await h.advance(1.5)
    assert h.state(actor) == "absent"


async def test_calls(h: Harness) -> None:
    actor = await greedy(h, calls=2)
    refused = {"code": "exceeded", "metadata": {"limit": "calls", "used": 3, "allowed": 2}}
    assert await h.call(actor, "fetches", 3) == ["done", "done", refused]
    assert counted(h, "calls")
    # Those that were answered are outstanding no longer.
    assert await h.call(actor, "fetches", 2) == ["done", "done"]


async def test_call_timeout(h: Harness) -> None:
    actor = await greedy(h, call_timeout=2_000)
    found: list[Any] = []
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            found.append(await h.call(actor, "ask", None))

        tasks.start_soon(ask)
        await h.rest()
        await h.advance(1.9)
        assert found == []
        await h.advance(0.2)
    late = {"code": "call_timed_out", "metadata": {"limit": "call_timeout", "used": 2_000, "allowed": 2_000}}
    assert found == [late]
    assert counted(h, "call_timeout")
    over = {"code": "exceeded", "metadata": {"limit": "call_timeout", "used": 2_001, "allowed": 2_000}}
    assert await h.call(actor, "ask", 2_001) == over


async def test_fetch_first_byte(h: Harness) -> None:
    await h.call(await greedy(h, fetch_first_byte=100), "fetches", 1)
    # tests/outbound has what becomes of it.
    assert [caller.limits.fetch_first_byte for caller, _ in h.outside.asked] == [100]


async def test_fetch_redirects(h: Harness) -> None:
    await h.call(await greedy(h, fetch_redirects=1), "fetches", 1)
    assert [caller.limits.fetch_redirects for caller, _ in h.outside.asked] == [1]


def test_every_adjustable_limit_has_its_test() -> None:
    here: dict[str, Any] = globals()
    assert [limit.name for limit in LIMITS if limit.adjustable and f"test_{limit.name}" not in here] == []


async def test_an_interval_that_the_tenant_has_no_room_for_any_more_ends_and_its_actor_goes_on(h: Harness) -> None:
    actor = await h.new("""
      import { actor } from "isolate";
      let ticks = 0;
      export default actor({
        actions: { tick() { setInterval(() => { ticks += 1; }, 1000); }, ticks: () => ticks },
      });""")
    for _ in range(3):
        await h.call(actor, "tick")
    await h.placement.set_quotas(TENANT, {"tenant_timers": 1})
    for _ in range(3):
        await h.advance(1)
    # Three at the first second, two of which found no room; then the one that is left.
    assert await h.call(actor, "ticks") == 5
    assert h.count("guest_faults") == 0
