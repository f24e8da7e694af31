"""Requests of actors to the outside, from the side of the actor: after the commit, once, cut off with the isolate."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from host.model.calls import CallOutcome
from host.model.definitions import DefinitionOptions, EgressOptions
from host.model.errors import ErrorInfo
from tests.actor.guests import scripted, settle
from tests.actor.harness import TENANT, Failed, Harness

pytestmark = pytest.mark.anyio

FETCHER = """
import { actor } from "isolate";
let controller;
export default actor({
  state: { n: 0 },
  onWebSocket(c, ws) {
    ws.onmessage = async (e) => {
      await c.kv.put(e.data, "begun");
      const answer = await fetch("https://api.example.com/" + e.data);
      ws.send(`${e.data}: ${answer.status} ${await answer.text()} at ${e.attempt}`);
    };
  },
  actions: {
    async get(c, path) {
      c.state.n += 1;
      const answer = await fetch(`https://api.example.com/${path}`, { headers: { "x-n": String(c.state.n) } });
      return [answer.status, await answer.text()];
    },
    async body(c, size) { return (await (await fetch("https://api.example.com/")).bytes()).length; },
    async abortable(c) {
      controller = new AbortController();
      try { return (await fetch("https://api.example.com/", { signal: controller.signal })).status; }
      catch (e) { return e.name; }
    },
    abort(c) { controller.abort(); },
    async once(c) { fetch("https://api.example.com/").catch(() => {}); controller = new AbortController(); },
    both(c) {
      const given = new AbortController();
      fetch("https://api.example.com/", { signal: given.signal }).catch(() => {});
      given.abort();
    },
    async told(c) {
      try { await fetch("https://api.example.com/"); return "answered"; }
      catch (e) { return [e.name, e.group, e.code, e.metadata ?? null]; }
    },
    crash(c) { for (let i = 0; i < 10_000; i++) c.kv.get("x").catch(() => {}); },
    count: (c) => c.state.n,
  },
});
"""
EGRESS = EgressOptions(hosts=("api.example.com",))


async def fetcher(h: Harness, **limits: int) -> str:
    await h.define(FETCHER, limits={"host_calls": 64, **limits}, options=DefinitionOptions(egress=EGRESS))
    return await h.actor()


async def ask(h: Harness, actor: str, found: list[Any], *call: Any) -> None:
    try:
        found.append(await h.call(actor, *call))
    except Failed as failed:
        found.append(failed.name)


def urls(h: Harness) -> list[str]:
    return [call.url for _, call in h.outside.asked]


async def test_the_host_says_who_asks_and_what_the_definition_allows(h: Harness) -> None:
    actor = await fetcher(h)
    assert await h.call(actor, "get", "x") == [200, "hello"]
    ((caller, call),) = h.outside.asked
    assert (caller.tenant, caller.actor_id, caller.name, caller.key) == (TENANT, actor, "a", ("k",))
    assert caller.egress == EGRESS
    assert (call.method, call.headers, call.body, call.redirect) == ("GET", (("x-n", "1"),), b"", "follow")


async def test_d1_a_request_leaves_after_the_commit_of_its_turn(h: Harness) -> None:
    actor = await fetcher(h)
    await h.call(actor, "count")
    h.storage.hold()
    found: list[Any] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, h, actor, found, "get", "x")
        await h.storage.until_held()
        assert urls(h) == []
        h.storage.release()
    assert found == [[200, "hello"]]


async def test_a_request_of_a_turn_that_is_undone_never_leaves(h: Harness) -> None:
    actor = await fetcher(h)
    await h.call(actor, "count")
    h.storage.unavailable()
    assert (await h.error(actor, "get", "x")).name == "storage/unavailable"
    await h.rest()
    assert urls(h) == []
    assert await h.call(actor, "count") == 0


async def test_a_message_whose_isolate_goes_while_it_waits_asks_again(h: Harness) -> None:
    """At least once: what is awaited outside runs again from its start, as a further attempt."""
    actor = await fetcher(h)
    h.outside.seconds = 5
    socket = await h.open(actor)
    socket.send("m")
    await h.rest()
    assert (await h.error(actor, "crash")).name == "guest/budget"
    await h.rest()
    assert urls(h) == ["https://api.example.com/m"] * 2
    assert h.count("calls_cancelled", "isolate_gone") == 1
    await h.advance(5.1)
    assert [data for _, data in h.frames()] == ["m: 200 hello at 2"]
    assert await h.index(socket) == 1
    assert h.outside.ended == [h.outside.asked[1][1].call]


async def test_bodies_come_back_behind_the_frame(h: Harness) -> None:
    actor = await fetcher(h)
    h.outside.body = bytes(3 * 1024 * 1024)
    assert await h.call(actor, "body", 0) == len(h.outside.body)
    assert (await h.tenants.usage(TENANT)).quotas["tenant_call_bytes"].used == 0


async def test_an_answer_that_the_tenant_has_no_room_for_is_an_error(h: Harness) -> None:
    actor = await fetcher(h)
    await h.tenants.set_quotas(TENANT, {"tenant_call_bytes": 1_000})
    h.outside.body = bytes(1_000)
    told = await h.call(actor, "told")
    assert told[:3] == ["TypeError", "limit", "exceeded"]
    assert told[3]["limit"] == "tenant_call_bytes"
    assert (await h.tenants.usage(TENANT)).quotas["tenant_call_bytes"].used == 0


async def test_a_rate_refuses_before_anything_leaves(h: Harness) -> None:
    actor = await fetcher(h)
    await h.tenants.set_quotas(TENANT, {"tenant_fetches": 2})
    assert [await h.call(actor, "told") for _ in range(2)] == ["answered"] * 2
    told = await h.call(actor, "told")
    assert told == ["TypeError", "limit", "exceeded", {"limit": "tenant_fetches", "used": 3, "allowed": 2}]
    assert len(urls(h)) == 2
    await h.advance(31)
    assert await h.call(actor, "told") == "answered"


async def test_a_signal_cuts_a_request_off(h: Harness) -> None:
    actor = await fetcher(h)
    h.outside.seconds = 5
    found: list[Any] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, h, actor, found, "abortable")
        await h.rest()
        await h.call(actor, "abort")
        await h.rest()
        assert found == ["AbortError"]
    await h.advance(10)
    assert h.outside.ended == []
    assert h.count("calls_cancelled", "given_up") == 1
    assert (await h.tenants.usage(TENANT)).quotas["tenant_calls"].used == 0


async def test_what_is_given_up_in_its_own_turn_never_leaves(h: Harness) -> None:
    actor = await fetcher(h)
    await h.call(actor, "both")
    await h.rest()
    assert urls(h) == []


async def test_a_call_that_is_cut_off_before_its_task_runs_is_not_made(h: Harness) -> None:
    actor = await fetcher(h)
    await h.call(actor, "get", "x")
    caller, call = h.outside.asked.pop()
    h.placement.calls.start_call(caller, call, lambda _: None, lambda _: None)()
    await h.rest()
    assert urls(h) == []


async def test_an_error_of_the_host_costs_one_request(h: Harness) -> None:
    actor = await fetcher(h)

    async def broken(*_: Any) -> CallOutcome:
        raise ZeroDivisionError

    h.outside.fetch, kept = broken, h.outside.fetch  # type: ignore[assignment, method-assign]
    assert (await h.call(actor, "told"))[1:3] == ["internal", "internal_error"]
    h.outside.fetch = kept  # type: ignore[method-assign]
    assert await h.call(actor, "told") == "answered"


async def test_a_request_that_nobody_awaits_holds_the_actor_awake(h: Harness) -> None:
    actor = await fetcher(h, call_timeout=600_000)
    h.outside.seconds = 60
    await h.call(actor, "once")
    await h.rest()
    await h.advance(59)
    assert h.state(actor) == "running"
    await h.advance(30)
    assert h.state(actor) == "running"
    await h.advance(3)
    assert h.state(actor) == "absent"
    assert len(h.outside.ended) == 1


async def test_errors_of_the_way_out_are_type_errors_with_their_code(h: Harness) -> None:
    actor = await fetcher(h)
    refused = ErrorInfo("fetch", "refused", "no", metadata=b'{"a":[1]}')

    async def refuse(*_: Any) -> CallOutcome:
        return CallOutcome(error=refused)

    h.outside.fetch = refuse  # type: ignore[assignment, method-assign]
    assert await h.call(actor, "told") == ["TypeError", "fetch", "refused", {"a": [1]}]


async def test_a_wasm_guest_fetches_through_the_abi(h: Harness) -> None:
    wasm = scripted(settle(1), settle(2, call={"call": "fetch", "url": "https://api.example.com/"}))
    await h.define(wasm, "w", options=DefinitionOptions(egress=EGRESS))
    assert await h.call(await h.actor("w"), "go") == {"ok": {"call": 1}}
    await h.rest()
    assert urls(h) == ["https://api.example.com/"]
