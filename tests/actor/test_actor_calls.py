"""Calls from actor to actor: after the commit, at most once, within the tenant, and never a deadlock."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actor.harness import TENANT, Harness

pytestmark = pytest.mark.anyio

PEER = """
import { actor, UserError } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
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
    async caught(c, key, action, ...args) {
      try {
        return await c.client().a.getOrCreate([key])[action](...args);
      } catch (e) {
        return { name: `${e.group}/${e.code}`, metadata: e.metadata ?? null, message: e.message };
      }
    },
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
