"""fetch and c.client() in the engine: what goes to the host, and what becomes of what comes back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from host.bridge import envelopes as env
from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.frames import Buffers
from tests.isolate_sdk.guest import Guest

ACTOR = """
import { actor, UserError } from "isolate";
let controller;
export default actor({
  state: { seen: null },
  actions: {
    async get(c, url, init) {
      const r = await fetch(url, init);
      return [r.status, r.ok, r.url, r.redirected, [...r.headers], await r.text()];
    },
    async bytes(c, url) { return (await (await fetch(url)).bytes()).length; },
    async twice(c, url) {
      const r = await fetch(url), copy = r.clone();
      return [await r.json(), await copy.json(), copy.url, copy instanceof Response];
    },
    async request(c, url) {
      const request = new Request(url, { method: "post", body: "hi", headers: { "X-A": "1" } });
      return (await fetch(request, { headers: { "x-b": "2" } })).status;
    },
    async post(c, n) { return (await fetch("https://a.example/", { method: "PUT", body: new Uint8Array(n) })).status; },
    async failing(c, url, init) {
      try { await fetch(url, init); return "no error"; }
      catch (e) { return [e.name, e instanceof TypeError, e.group ?? null, e.code ?? null, e.metadata ?? null]; }
    },
    async aborted(c) {
      controller = new AbortController();
      try { await fetch("https://a.example/", { signal: controller.signal }); return "answered"; }
      catch (e) { return e.name ?? e; }
    },
    abort(c, why) { controller.abort(why); },
    async ask(c, ...args) { return await c.client().rooms.getOrCreate(["a", "b"]).say(...args); },
    async client(c, what) { return await eval(what)(c.client()); },
    caller: (c) => [c.caller ?? null, c.actorId, (c.state.seen = 1)],
  },
});
"""
RESULT = {
    "status": 200,
    "headers": [["X-A", "1"], ["set-cookie", "b"]],
    "url": "https://a.example/",
    "redirected": True,
}


@pytest.fixture
def guest(new_guest: NewGuest) -> Guest:
    return new_guest(ACTOR)


def begun(guest: Guest, action: str, *args: Any) -> tuple[int, Any, bytes]:
    """The deferred call that an action makes."""
    assert guest.deliver({"type": "action", "name": action, "args": list(args)}) == []
    return guest.host.deferred[-1]


def completed(guest: Guest, call: int, *, body: bytes | None = None, **more: Any) -> Any:
    """What the action settles with when its call has completed."""
    buffers = Buffers()
    event = {"type": "completion", "call": call, **more}
    if body is not None:
        event["body"] = buffers.field(body)
    (settled,) = guest.deliver(event, buffers=buffers)
    return settled.result if settled.error is None else settled.error


def test_a_fetch_is_a_call_and_its_completion_a_response(guest: Guest) -> None:
    call, sent, body = begun(guest, "get", "https://a.example/x?y=1#z")
    assert isinstance(sent, env.Fetch)
    assert (sent.url, sent.method, sent.headers, body) == ("https://a.example/x?y=1#z", "GET", [], b"")
    answer = completed(guest, call, result=RESULT, body=b"hello")
    headers = [["set-cookie", "b"], ["x-a", "1"]]
    assert answer == [200, True, "https://a.example/", True, headers, "hello"]


def test_method_headers_body_redirect_and_timeout_go_to_the_host(guest: Guest) -> None:
    init = {"method": "patch", "headers": {"A": "b"}, "body": "ü", "redirect": "manual", "timeout": 500}
    _, sent, body = begun(guest, "get", "https://a.example/", init)
    assert sent.method == "patch" or sent.method == "PATCH"
    assert sent.headers == [("a", "b"), ("content-type", "text/plain;charset=UTF-8")]
    assert (body, sent.redirect, sent.timeout) == ("ü".encode(), "manual", 500)


def test_a_request_is_taken_whole_and_init_has_the_last_word(guest: Guest) -> None:
    call, sent, body = begun(guest, "request", "https://a.example/")
    assert (sent.method, sent.headers, body) == ("POST", [("x-b", "2")], b"hi")
    assert completed(guest, call, result=RESULT, body=b"") == 200


@pytest.mark.parametrize("size", [0, 1, 1_023, 1_024, 200_000])
def test_bodies_of_every_size_arrive_both_ways(guest: Guest, size: int) -> None:
    _, _, body = begun(guest, "post", size)
    assert body == bytes(size)
    call, _, _ = begun(guest, "bytes", "https://a.example/")
    assert completed(guest, call, result=RESULT, body=b"x" * size) == size


def test_a_response_can_be_cloned(guest: Guest) -> None:
    call, _, _ = begun(guest, "twice", "https://a.example/")
    assert completed(guest, call, result=RESULT, body=b'{"a":1}') == [{"a": 1}, {"a": 1}, "https://a.example/", True]


def test_an_error_is_a_type_error_with_its_code(guest: Guest) -> None:
    call, _, _ = begun(guest, "failing", "https://a.example/")
    error = {"group": "fetch", "code": "too_large", "message": "too much", "metadata": {"limit": "body"}}
    assert completed(guest, call, error=error) == ["TypeError", True, "fetch", "too_large", {"limit": "body"}]


@pytest.mark.parametrize(
    ("url", "init"),
    [
        ("not a url", {}),
        ("https://a.example/", {"redirect": "sometimes"}),
        ("https://a.example/", {"method": "GE T"}),
        ("https://a.example/", {"method": "GET", "body": "x"}),
        ("https://a.example/", {"headers": {"a b": "c"}}),
        ("https://a.example/", {"headers": {"a": "b\r\nc: d"}}),
        ("https://a.example/", {"timeout": 0}),
        ("https://a.example/", {"timeout": 1.5}),
        ("https://a.example/", {"signal": "now"}),
    ],
)
def test_what_is_no_request_never_reaches_the_host(guest: Guest, url: str, init: dict[str, Any]) -> None:
    assert guest.action("failing", url, init).result[:2] == ["TypeError", True]
    assert guest.host.deferred == []


def test_a_signal_gives_the_call_up_at_the_host(guest: Guest) -> None:
    call, _, _ = begun(guest, "aborted")
    settled = guest.deliver({"type": "action", "name": "abort", "args": []})
    assert "AbortError" in [one.result for one in settled]
    assert guest.host.cancelled == [call]
    # An answer that was on its way is ignored.
    assert guest.deliver({"type": "completion", "call": call, "result": RESULT}) == []


def test_a_signal_that_is_aborted_already_sends_nothing(guest: Guest) -> None:
    before = len(guest.host.deferred)
    answer = guest.action(
        "client", "(client) => client.a.get('k').action({name: 'x', signal: AbortSignal.abort('no')})"
    )
    assert answer.error is not None
    assert len(guest.host.deferred) == before


def test_a_handle_calls_with_its_key_method_and_arguments(guest: Guest) -> None:
    call, sent, _ = begun(guest, "ask", "$tag", 1, None)
    assert isinstance(sent, env.ActorCall)
    assert (sent.name, sent.key, sent.method, sent.action) == ("rooms", ["a", "b"], "getOrCreate", "say")
    assert msgspec.json.decode(msgspec.json.encode(sent))["args"] == ["$tag", 1, None]
    assert completed(guest, call, result={"n": ["$BigInt", "7"]}) == {"n": ["$BigInt", "7"]}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("client.a.get('k').x()", {"name": "a", "key": ["k"], "method": "get", "action": "x", "args": []}),
        ("client.a.get().x(1)", {"name": "a", "key": [], "method": "get", "action": "x", "args": [1]}),
        ("client.get('a', ['k']).x()", {"name": "a", "key": ["k"], "method": "get", "action": "x", "args": []}),
        (
            "client.a.getOrCreate('k', {createWithInput: {i: 1}}).x()",
            {"name": "a", "key": ["k"], "method": "getOrCreate", "action": "x", "args": [], "input": {"i": 1}},
        ),
        ("client.a.getForId('0f').x()", {"actor": "0f", "action": "x", "args": []}),
        ("client.a.create(['k'], {input: 2})", {"name": "a", "key": ["k"], "method": "create", "input": 2}),
        ("client.a.get('k').resolve()", {"name": "a", "key": ["k"], "method": "get"}),
        (
            "client.a.get('k').deep.er(1)",
            {"name": "a", "key": ["k"], "method": "get", "action": "deep.er", "args": [1]},
        ),
        (
            "client.a.get('k').action({name: 'x', args: [1], timeout: 9})",
            {"name": "a", "key": ["k"], "method": "get", "action": "x", "args": [1], "timeout": 9},
        ),
    ],
)
def test_every_way_to_name_an_actor(guest: Guest, what: str, expected: dict[str, Any]) -> None:
    _, sent, _ = begun(guest, "client", f"(client) => {what}")
    found = msgspec.json.decode(msgspec.json.encode(sent))
    found.pop("call")
    defaults = {"name": "", "key": [], "method": "get"}
    assert {**defaults, **found} == {**defaults, **expected}


def test_create_resolves_to_a_handle_and_a_handle_is_no_promise(guest: Guest) -> None:
    call, _, _ = begun(guest, "client", "async (client) => (await client.a.create('k')).x(1)")
    before = len(guest.host.deferred)
    assert guest.deliver({"type": "completion", "call": call, "result": {"actor": "0f", "name": "a"}}) == []
    _, sent, _ = guest.host.deferred[before]
    assert isinstance(sent, env.ActorCall)
    assert (sent.actor, sent.action) == ("0f", "x")


def test_an_error_of_a_user_passes_on_as_one_and_others_do_not(guest: Guest) -> None:
    call, _, _ = begun(guest, "ask")
    error = completed(guest, call, error={"group": "user", "code": "full", "message": "no room", "metadata": [1]})
    assert (error["group"], error["code"], error["message"], error["metadata"]) == ("user", "full", "no room", [1])
    call, _, _ = begun(guest, "ask")
    error = completed(guest, call, error={"group": "actor", "code": "not_found", "message": "nobody"})
    assert error["group"] == "internal"


@pytest.mark.parametrize(
    "what",
    [
        "client.a.get(1)", "client.a.get([1])", "client.a.getForId(1)", "client.a.get('k').action('x')",
        "client.a.get('k').action({name: 'x', args: {}})", "client.a.get('k').action({name: 'x', timeout: -1})",
        "client.a.get('k').x(() => 1)", "client.get('', 'k')", "client.a.get('k').connect()",
    ],
)  # fmt: skip
def test_what_names_no_actor_or_action_is_an_error(guest: Guest, what: str) -> None:
    assert guest.action("client", f"(client) => {what}").error is not None
    assert guest.host.deferred == []


def test_who_called_is_on_the_context_of_that_call_alone(guest: Guest) -> None:
    called = guest.one(type="action", name="caller", args=[], caller="0f" * 16, caller_name="clock")
    assert called.result == [{"actorId": "0f" * 16, "name": "clock"}, "a1", 1]
    assert guest.host.state == {"seen": 1}
    assert guest.action("caller").result == [None, "a1", 1]
