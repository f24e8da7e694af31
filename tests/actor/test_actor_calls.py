"""Calls from actor to actor: after the commit, at most once, within the tenant, and never a deadlock."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from host.model.calls import CallOutcome
from host.model.definitions import DefinitionOptions
from host.model.limits import Limits
from tests.actor.guests import Step, scripted, settle
from tests.actor.harness import TENANT, CodeShelf, Failed, Harness, open_harness

pytestmark = pytest.mark.anyio

PEER = """
import { actor, UserError } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
const caught = async (c, key, action, args) => {
  try {
    return await c.client().a.getOrCreate([key])[action](...args);
  } catch (e) {
    return { name: `${e.group}/${e.code}`, metadata: e.metadata ?? null, message: e.message };
  }
};
export default actor({
  createState(c, input) { return { n: 0, input: input ?? null, heard: [] }; },
  actions: {
    add(c, n) { return (c.state.n += n); },
    async slow(c, ms) { await later(ms); return (c.state.n += 1); },
    whoCalls(c) { return c.caller ?? null; },
    refuse(c, code, metadata) { throw new UserError("not today", { code, metadata }); },
    breakDown() { throw new Error("a secret"); },
    loop() { for (;;) {} },
    input: (c) => c.state.input,
    get: (c) => c.state,
    async ask(c, key, action, ...args) { return await c.client().a.getOrCreate([key])[action](...args); },
    async askBy(c, method, key, name, ...args) { return await c.client().a[method]([key]).action({ name, args }); },
    async askId(c, id, action, ...args) { return await c.client().a.getForId(id)[action](...args); },
    async make(c, key, input) { return await (await c.client().a.create([key], { input })).input(); },
    async idOf(c, key) { return await c.client().a.get([key]).resolve(); },
    async pass(c, from, path) {
      c.state.heard.push(from);
      const [next, ...rest] = path;
      if (next === undefined) return c.state.heard.length;
      return await c.client().a.getOrCreate([next]).pass(c.key[0], rest);
    },
    async round(c, other) { return await c.client().a.getOrCreate([other]).round(c.key[0]); },
    caught: (c, key, action, ...args) => caught(c, key, action, args),
    async hasty(c, key, ms) {
      const signal = AbortSignal.timeout(ms);
      try {
        return await c.client().a.getOrCreate([key]).action({ name: "slow", args: [5000], signal });
      } catch (e) {
        return e.name;
      }
    },
    crash(c, key) {
      c.client().a.getOrCreate([key]).add(1);
      for (let i = 0; i < 100_000; i++) c.kv.get("x").catch(() => {});
    },
    async later(c, key, back) { return await c.client().a.getOrCreate([key]).afterwards(back); },
    async afterwards(c, back) { await later(500); return (await caught(c, back, "add", [1])).name; },
    async endsSelf(c) { c.destroy(); },
    tell(c, key, action, ...args) { c.waitUntil(c.client().a.getOrCreate([key])[action](...args).catch(() => {})); },
  },
});
"""


async def pair(h: Harness, **limits: int) -> tuple[str, str]:
    await h.define(PEER, limits=limits)
    return await h.actor(key="a"), await h.actor(key="b")


async def caught(h: Harness, actor: str, *args: Any) -> Any:
    return await h.call(actor, "caught", *args)


async def test_an_actor_calls_another_and_gets_its_answer(h: Harness) -> None:
    a, b = await pair(h)
    assert await h.call(a, "ask", "b", "add", 5) == 5
    assert await h.call(a, "askBy", "get", "b", "add", 2) == 7
    assert await h.call(a, "askId", b, "add", 1) == 8
    assert (await h.call(b, "get"))["n"] == 8
    assert h.count("actor_calls", "ok") == 3


async def test_get_or_create_makes_the_actor_and_create_gives_it_its_input(h: Harness) -> None:
    a, _ = await pair(h)
    assert await h.call(a, "ask", "new", "add", 1) == 1
    assert await h.call(a, "make", "newer", {"deep": [1]}) == {"deep": [1]}
    made = await h.placement.find(TENANT, "a", ("newer",))
    assert made is not None
    assert await h.call(a, "idOf", "newer") == made.actor_id


async def test_the_callee_hears_who_called_and_a_client_is_nobody(h: Harness) -> None:
    a, b = await pair(h)
    assert await h.call(a, "ask", "b", "whoCalls") == {"actorId": a, "name": "a"}
    assert await h.call(b, "whoCalls") is None


async def test_a_call_back_to_a_waiting_caller_is_answered(h: Harness) -> None:
    a, b = await pair(h)
    assert await h.call(a, "pass", "client", ["b", "a", "b", "a"]) == 3
    assert (await h.call(b, "get"))["heard"] == ["a", "a"]


async def test_a_cycle_is_refused_at_its_depth(h: Harness) -> None:
    a, _ = await pair(h)
    error = await caught(h, a, "b", "round", "a")
    # The 33rd call is refused; the actors between do not catch it, so it is masked on its way back.
    assert error["name"] == "internal/internal_error"
    assert h.count("actor_calls", "actor/call_too_deep") == 1
    assert h.count("actor_calls") == 33
    assert h.count("limits", "call_depth") == 1


@asynccontextmanager
async def asking(h: Harness, actor: str, *call: Any) -> AsyncGenerator[list[Any]]:
    """The answer to a call that is made in the background, in a list once it is there."""
    found: list[Any] = []

    async def ask() -> None:
        try:
            found.append(await h.call(actor, *call))
        except Failed as failed:
            found.append(failed.name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        yield found


# --- when -------------------------------------------------------------------------------------------------------------


async def test_d1_a_call_starts_after_the_commit_of_its_turn_and_not_before(h: Harness) -> None:
    a, b = await pair(h)
    await h.call(a, "add", 1)
    await h.call(b, "add", 1)
    h.storage.hold()
    async with asking(h, a, "pass", "client", ["b"]) as found:
        await h.storage.until_held()
        assert len(h.placement.directory.ensure(b).mailbox) == 0
        assert h.count("actor_calls") == 0
        h.storage.release()
        await h.rest()
        assert found == [1]


async def test_a_call_of_a_turn_that_is_not_committed_is_never_made(h: Harness) -> None:
    a, b = await pair(h)
    await h.call(b, "add", 1)
    await h.call(a, "add", 1)
    h.storage.unavailable()
    assert (await h.error(a, "pass", "client", ["b"])).name == "storage/unavailable"
    await h.rest()
    assert h.count("actor_calls") == 0
    assert (await h.call(b, "get"))["heard"] == []


async def test_a_call_of_a_turn_that_faults_is_never_made(h: Harness) -> None:
    a, b = await pair(h, host_calls=1_000)
    await h.call(b, "add", 1)
    assert (await h.error(a, "crash", "b")).name == "guest/budget"
    await h.rest()
    assert h.count("actor_calls") == 0
    assert (await h.call(b, "get"))["n"] == 1


KNOT = """
import { actor } from "isolate";
export default actor({
  state: { told: null },
  async onWake(c) {
    if (c.key[0] === "a") c.state.told = await c.client().a.getOrCreate(["b"]).back();
  },
  actions: {
    async back(c) {
      try { return await c.client().a.get(["a"]).told(); }
      catch (e) { return `${e.group}/${e.code}`; }
    },
    told: (c) => c.state.told,
  },
});
"""


async def test_an_actor_that_starts_is_not_waited_for_by_a_call_that_its_start_waits_for(h: Harness) -> None:
    await h.define(KNOT)
    actor = await h.actor(key="a")
    # At once: no deadline passes.
    assert await h.call(actor, "told") == "actor/starting"
    assert h.count("actor_calls", "actor/starting") == 1
    assert await h.call(await h.actor(key="b"), "back") == "actor/starting"


async def test_nor_is_one_that_stops(h: Harness) -> None:
    a, _ = await pair(h)
    async with asking(h, a, "later", "b", "a") as found, anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.sleep, a)
        await h.rest()
        await h.advance(1)
        assert found == ["actor/stopping"]


# --- how it ends ------------------------------------------------------------------------------------------------------


async def test_an_error_of_a_user_passes_and_passes_on(h: Harness) -> None:
    a, _ = await pair(h)
    error = await h.error(a, "ask", "b", "refuse", "sunday", {"until": 1})
    assert (error.name, error.message, error.metadata) == ("user/sunday", "not today", b'{"until":1}')
    told = await caught(h, a, "b", "refuse", "sunday", {"until": 1})
    assert told == {"name": "user/sunday", "metadata": {"until": 1}, "message": "not today"}


async def test_other_errors_come_with_the_code_that_any_caller_gets(h: Harness) -> None:
    a, _ = await pair(h, turn_deadline=100)
    broken = await caught(h, a, "b", "breakDown")
    assert broken["name"] == "internal/internal_error"
    assert "secret" not in broken["message"]
    assert (await caught(h, a, "b", "loop"))["name"] == "guest/deadline"
    assert (await caught(h, a, "b", "nonsense"))["name"] == "actor/action_not_found"
    # Not the guest's own to forge: what it does not catch is masked.
    assert (await h.error(a, "ask", "b", "loop")).name == "internal/internal_error"


async def test_get_finds_nobody_that_is_not_there(h: Harness) -> None:
    a, _ = await pair(h)
    with pytest.raises(Failed) as failed:
        await h.call(a, "idOf", "nobody")
    assert failed.value.name == "internal/internal_error"
    assert h.count("actor_calls", "actor/not_found") == 1
    assert await h.placement.find(TENANT, "a", ("nobody",)) is None


async def test_an_actor_of_another_tenant_is_not_found(h: Harness) -> None:
    a, _ = await pair(h)
    digest = h.shelf.put(PEER)
    for name in ("a", "theirs"):
        await h.storage.put_definition("other", name, digest, DefinitionOptions(), {}, h.clock.now_ms())
    foreign, _ = await h.placement.get_or_create("other", "theirs", ("k",), None)
    await h.placement.get_or_create("other", "a", ("only there",), None)
    assert (await h.error(a, "askId", foreign.actor_id, "add", 1)).name == "internal/internal_error"
    assert (await h.error(a, "askBy", "get", "only there", "add", 1)).name == "internal/internal_error"
    assert h.count("actor_calls", "actor/not_found") == 2
    assert (await h.storage.driver.hydrate(foreign.actor_id)) is not None
    assert (await h.record(foreign.actor_id)).started_once is False


async def test_a_caller_has_its_answer_within_its_time(h: Harness) -> None:
    a, b = await pair(h, call_timeout=3_000)
    async with asking(h, a, "caught", "b", "slow", 5_000) as found:
        await h.advance(2.9)
        assert found == []
        await h.advance(0.2)
        assert [one["name"] for one in found] == ["actor/call_timed_out"]
    # The other actor knows nothing of that, and its answer is nobody's.
    await h.advance(2)
    assert (await h.call(b, "get"))["n"] == 1
    assert h.count("limits", "call_timeout") == 1


async def test_a_call_that_its_signal_gives_up_ends_at_once(h: Harness) -> None:
    a, b = await pair(h)
    async with asking(h, a, "hasty", "b", 1_000) as found:
        await h.advance(1.1)
        assert found == ["TimeoutError"]
        assert h.count("calls_cancelled", "given_up") == 1
    await h.advance(5)
    assert (await h.call(b, "get"))["n"] == 1
    assert h.count("completions_dropped") == 0


async def test_a_callee_that_is_destroyed_before_it_hears_is_replaced_by_the_next_of_its_key(h: Harness) -> None:
    a, b = await pair(h)
    await h.call(b, "add", 5)
    await h.call(b, "endsSelf")
    assert await h.call(a, "ask", "b", "add", 1) == 1
    assert await h.actor(key="b") != b


# --- while it is outstanding ------------------------------------------------------------------------------------------


async def test_a_call_holds_its_actor_awake_and_a_timer_does_not(h: Harness) -> None:
    a, _ = await pair(h, call_timeout=600_000, handler_timeout=600_000)
    await h.call(a, "tell", "b", "slow", 100_000)
    await h.rest()
    await h.advance(99)
    assert h.state(a) == "running"
    await h.advance(2)
    await h.advance(28)
    assert h.state(a) == "running"
    await h.advance(3)
    assert h.state(a) == "absent"


async def test_a_caller_that_is_put_to_sleep_does_not_take_its_call_with_it(h: Harness) -> None:
    a, b = await pair(h, call_timeout=600_000)
    await h.call(a, "tell", "b", "slow", 40_000)
    await h.rest()
    await h.advance(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.sleep, a)
        await h.rest()
        # What it waits for has the grace, and no longer.
        await h.advance(15.1)
    assert h.state(a) == "absent"
    assert h.count("calls_cancelled", "isolate_gone") == 1
    await h.advance(30)
    assert (await h.call(b, "get"))["n"] == 1
    assert (await h.tenants.usage(TENANT)).quotas["tenant_calls"].used == 0


async def test_d6_a_fault_cuts_off_the_calls_of_its_isolate(h: Harness) -> None:
    a, b = await pair(h, host_calls=1_000)
    async with asking(h, a, "ask", "b", "slow", 5_000) as found:
        assert (await h.error(a, "crash", "b")).name == "guest/budget"
        await h.rest()
        assert found == ["actor/aborted"]
        assert h.count("calls_cancelled", "isolate_gone") == 1
    await h.advance(10)
    assert (await h.call(b, "get"))["n"] == 1
    assert await h.call(a, "ask", "b", "add", 1) == 2


async def test_d6_an_answer_that_comes_when_its_isolate_is_gone_is_dropped_and_counted(h: Harness) -> None:
    """A port that does not heed that it was cut off."""
    late: list[Any] = []
    start = h.placement.calls.start_call

    def deaf(caller: Any, call: Any, done: Any, hold: Any) -> Any:
        late.append((done, hold))
        start(caller, call, lambda outcome: None, hold)
        return lambda: None

    h.placement.calls.start_call = deaf  # type: ignore[method-assign]
    a, _ = await pair(h, host_calls=1_000)
    async with asking(h, a, "ask", "b", "slow", 5_000) as found:
        assert (await h.error(a, "crash", "b")).name == "guest/budget"
        await h.rest()
        assert found == ["actor/aborted"]
    turns = h.count("completions_dropped")
    for done, hold in late:
        refused = hold(1_000)
        assert refused is not None
        assert refused.name == "actor/aborted"
        done(CallOutcome(b"1"))
    assert (await h.tenants.usage(TENANT)).quotas["tenant_call_bytes"].used == 0
    await h.rest()
    assert h.count("completions_dropped", "late") - turns == len(late) == 1
    assert await h.call(a, "add", 1) == 1


async def test_a_destroyed_caller_is_answered_and_its_calls_end(h: Harness) -> None:
    a, b = await pair(h)
    async with asking(h, a, "ask", "b", "slow", 60_000) as found:
        await h.destroy(a, 6)
        assert found in (["actor/aborted"], ["actor/not_found"])
    assert h.count("calls_cancelled", "isolate_gone") == 1
    assert (await h.tenants.usage(TENANT)).quotas["tenant_call_bytes"].used == 0
    assert (await h.call(b, "add", 1)) == 1


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_tenant_has_so_many_calls_and_gets_them_back(h: Harness) -> None:
    a, _ = await pair(h)
    await h.tenants.set_quotas(TENANT, {"tenant_calls": 2})
    async with asking(h, a, "ask", "b", "slow", 5_000) as first, asking(h, a, "ask", "b", "slow", 5_000) as second:
        told = await caught(h, a, "b", "add", 1)
        assert told["name"] == "limit/exceeded"
        assert told["metadata"] == {"limit": "tenant_calls", "used": 3, "allowed": 2}
        await h.advance(5.1)
        assert (first, second) == ([1], [2])
    assert await h.call(a, "ask", "b", "add", 1) == 3


async def test_an_answer_that_finds_no_room_is_an_error(h: Harness) -> None:
    a, b = await pair(h)
    await h.tenants.set_quotas(TENANT, {"tenant_call_bytes": 60})
    assert await h.call(a, "ask", "b", "add", 1) == 1
    for _ in range(3):
        await h.call(b, "pass", "somebody with a long name", [])
    told = await caught(h, a, "b", "get")
    assert told["name"] == "limit/exceeded"
    assert told["metadata"]["limit"] == "tenant_call_bytes"
    assert (await h.tenants.usage(TENANT)).quotas["tenant_call_bytes"].used == 0


async def test_a_callee_whose_mailbox_is_full_says_so(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(mailbox=1)) as h:
        a, b = await pair(h)
        await h.call(a, "add", 1)
        h.storage.hold_starts()
        async with asking(h, b, "add", 1) as waiting:
            told = await caught(h, a, "b", "add", 1)
            assert (told["name"], told["metadata"]["limit"]) == ("limit/exceeded", "mailbox")
            h.storage.release()
            await h.rest()
            assert waiting == [1]


# --- without the SDK --------------------------------------------------------------------------------------------------


async def test_a_wasm_guest_calls_through_the_abi(h: Harness) -> None:
    await h.define(PEER)
    call = {"call": "actor_call", "name": "a", "key": ["b"], "method": "getOrCreate", "action": "add", "args": [4]}
    wasm = scripted(settle(1), settle(2, call=call), Step(b'{"settled":[],"pending":0}'), settle(4))
    await h.define(wasm, "w")
    actor = await h.actor("w")
    assert await h.call(actor, "go") == {"ok": {"call": 1}}
    await h.rest()
    assert h.count("actor_calls", "ok") == 1
    assert (await h.call(await h.actor(key="b"), "get"))["n"] == 4
