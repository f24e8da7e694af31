"""keepAwake holds the idle clock; it and waitUntil hold up the end of a stop, and neither lengthens its grace."""

from __future__ import annotations

import pytest

from tests.actor.harness import Harness

pytestmark = pytest.mark.anyio

HOLDER = """
import { actor } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
const never = () => new Promise(() => {});
const work = async (c, ms, what) => {
  await later(ms);
  c.state.done.push(what);
  if (what === "bad") throw new Error("it went wrong");
};
export default actor({
  state: { done: [], sleeps: 0 },
  async onSleep(c) {
    c.state.sleeps += 1;
    const ms = Number(await c.kv.get("stop") ?? 0);
    if (ms) c.waitUntil(work(c, ms, "in onSleep"));
  },
  actions: {
    keep(c, ms, what) { c.keepAwake(work(c, ms, what)); },
    wait(c, ms, what) { c.waitUntil(work(c, ms, what)); },
    keepForEver(c) { c.keepAwake(never()); },
    async put(c, key, value) { await c.kv.put(key, value); },
    sleep(c) { c.sleep(); },
    keepAndSleep(c, ms) { c.keepAwake(work(c, ms, "kept")); c.sleep(); },
    crash(c) { c.keepAwake(never()); for (let i = 0; i < 1000; i++) c.kv.get("x").catch(() => {}); },
    get: (c) => c.state,
  },
});
"""


async def holder(h: Harness) -> str:
    return await h.new(HOLDER, limits={"host_calls": 64})


async def done(h: Harness, actor: str) -> object:
    return (await h.document(actor))["done"]


async def test_keep_awake_holds_the_idle_clock_until_its_promise_settles(h: Harness) -> None:
    actor = await holder(h)
    await h.call(actor, "keep", 100_000, "kept")
    await h.advance(100)
    assert (h.state(actor), await done(h, actor)) == ("running", ["kept"])
    # Only now is it idle: the whole idle time is still to come.
    await h.advance(29.9)
    assert h.state(actor) == "running"
    await h.advance(0.2)
    assert h.state(actor) == "absent"


async def test_each_of_several_holds_and_the_last_one_lets_go(h: Harness) -> None:
    actor = await holder(h)
    for seconds in (40, 80, 60):
        await h.call(actor, "keep", seconds * 1_000, str(seconds))
    await h.advance(109)
    assert h.state(actor) == "running"
    await h.advance(2)
    assert h.state(actor) == "absent"
    assert await done(h, actor) == ["40", "60", "80"]


async def test_wait_until_does_not_hold_the_idle_clock_but_the_end_of_the_stop(h: Harness) -> None:
    actor = await holder(h)
    await h.call(actor, "wait", 40_000, "waited")
    await h.advance(31)
    assert h.state(actor) == "stopping"
    assert (await h.record(actor)).slept_at is None
    await h.advance(9)
    assert h.state(actor) == "absent"
    assert await done(h, actor) == ["waited"]


async def test_a_sleep_that_is_asked_for_waits_for_both(h: Harness) -> None:
    actor = await holder(h)
    await h.call(actor, "keepAndSleep", 5_000)
    await h.rest()
    assert h.state(actor) == "stopping"
    await h.advance(5)
    assert h.state(actor) == "absent"
    assert await done(h, actor) == ["kept"]


async def test_what_on_sleep_itself_starts_is_waited_for(h: Harness) -> None:
    actor = await holder(h)
    await h.call(actor, "put", "stop", "8000")
    await h.call(actor, "sleep")
    await h.advance(7.9)
    assert h.state(actor) == "stopping"
    await h.advance(0.2)
    assert h.state(actor) == "absent"
    assert await done(h, actor) == ["in onSleep"]


@pytest.mark.parametrize("call", [("keep", 60_000, "x"), ("wait", 60_000, "x"), ("keepForEver",)])
async def test_neither_lengthens_the_grace(h: Harness, call: tuple[object, ...]) -> None:
    actor = await holder(h)
    await h.call(actor, *call)  # type: ignore[arg-type]
    await h.call(actor, "sleep")
    await h.advance(14.9)
    assert h.state(actor) == "stopping"
    await h.advance(0.2)
    assert h.state(actor) == "absent"
    assert (await h.record(actor)).lifecycle == "asleep"
    # What they waited for went with the isolate, and nothing of it comes back.
    await h.advance(100)
    assert (await h.call(actor, "get")) == {"done": [], "sleeps": 1}


async def test_an_eviction_does_not_wait_longer_for_it_than_its_own_grace(h: Harness) -> None:
    actor = await holder(h)
    await h.call(actor, "keepForEver")
    h.placement.directory.ensure(actor).evict()
    await h.advance(4.9)
    assert h.state(actor) == "stopping"
    await h.advance(0.2)
    assert h.state(actor) == "absent"


@pytest.mark.parametrize("call", ["keep", "wait"])
async def test_a_rejection_is_no_fault_and_lets_go(h: Harness, call: str) -> None:
    actor = await holder(h)
    await h.call(actor, call, 10_000, "bad")
    await h.advance(10)
    assert h.count("guest_faults", "guest/budget") == 0
    assert h.state(actor) == "running"
    await h.advance(30.1)
    assert h.state(actor) == "absent"
    assert await done(h, actor) == ["bad"]


async def test_a_fault_ends_what_was_held(h: Harness) -> None:
    actor = await holder(h)
    assert (await h.error(actor, "crash")).group == "guest"
    await h.rest()
    assert h.state(actor) == "running"
    await h.advance(30.1)
    assert h.state(actor) == "absent"


async def test_it_takes_no_durable_write(h: Harness) -> None:
    actor = await holder(h)
    await h.call(actor, "get")
    units = len(h.storage.units)
    await h.call(actor, "keepForEver")
    await h.rest()
    assert len(h.storage.units) == units
