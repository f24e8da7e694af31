"""Request, Response, Headers and the request event."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.frames import Buffers
from tests.isolate_sdk.guest import Guest, Settled

SOURCE = """
import { actor } from "rivetkit";
export default actor({ async onRequest(c, request) {
  const url = new URL(request.url);
  switch (url.pathname) {
    case "/echo": return new Response(await request.arrayBuffer(), { status: 201, headers: request.headers });
    case "/json": return Response.json({ got: await request.json(), q: url.searchParams.get("q"),
      method: request.method });
    case "/text": return new Response(`${await request.text()}!`);
    case "/twice": await request.text(); return new Response(await request.text());
    case "/clone": { const copy = request.clone(); return new Response((await request.text()) + (await copy.text())); }
    case "/cookies": { const r = new Response(null, { status: 204 }); r.headers.append("Set-Cookie", "a=1");
      r.headers.append("Set-Cookie", "b=2");
      r.headers.set("X-Seen", r.headers.getSetCookie().join("|")); return r; }
    case "/redirect": return Response.redirect("https://example.com/", 303);
    case "/form": return new Response(new URLSearchParams({ a: "1 2" }));
    case "/big": return new Response(new Uint8Array(5000).fill(65));
    case "/none": return "not a response";
    case "/stream": return new Response(new WeakMap());
    case "/made": { const r = new Request("http://h/x", { method: "post", body: "b", headers: { "X-A": "1" } });
      return Response.json([r.method, r.url, r.headers.get("content-type"), await r.text(), r.bodyUsed,
        r.signal.aborted]); }
    case "/headers": { const h = new Headers([["B", "1"], ["a", " 2 "], ["b", "3"]]); h.append("Set-Cookie",
      "x"); h.append("set-cookie", "y");
      const all = [...h]; h.delete("A"); return Response.json([all, h.has("a"), h.get("B"), [...h.keys()],
        h.get("nope")]); }
    case "/badHeader": return new Response("", { headers: { "a b": "1" } });
    case "/inject": return new Response("", { headers: { "a": "1\\r\\nx: 2" } });
    case "/status": return new Response("", { status: 99 });
    case "/slow": await new Promise((r) => setTimeout(r, 1)); return new Response("done");
  }
} });
"""


def request(guest: Guest, path: str, body: bytes = b"", method: str = "GET", headers: Any = ()) -> Settled:
    buffers = Buffers()
    event = {"type": "request", "method": method, "path": path, "headers": list(headers), "body": buffers.field(body)}
    (settled,) = guest.deliver(event, buffers=buffers)
    return settled


def body_of(settled: Settled) -> bytes:
    assert settled.error is None, settled.error
    body = settled.result["body"]
    return base64.b64decode(body) if isinstance(body, str) else settled.buffers[body["$bin"]]


@pytest.mark.parametrize("size", [0, 10, 1024, 100_000])
def test_bodies_and_headers_go_both_ways(new_guest: NewGuest, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    settled = request(new_guest(SOURCE), "/echo", body, "POST", [["X-One", "1"], ["x-one", "2"]])
    assert body_of(settled) == body
    assert settled.result["status"] == 201
    assert settled.result["headers"] == [["x-one", "1"], ["x-one", "2"]]


def test_json_in_and_out(new_guest: NewGuest) -> None:
    settled = request(new_guest(SOURCE), "/json?q=ä%20b", '{"ü": 1}'.encode(), "POST")
    assert body_of(settled).decode() == '{"got":{"ü":1},"q":"ä b","method":"POST"}'
    assert settled.result["headers"] == [["content-type", "application/json"]]


def test_text_is_utf8_without_its_mark(new_guest: NewGuest) -> None:
    settled = request(new_guest(SOURCE), "/text", "\ufeffgrün".encode())
    assert body_of(settled).decode() == "grün!"
    assert settled.result["headers"] == [["content-type", "text/plain;charset=UTF-8"]]


def test_a_body_is_read_once_unless_it_is_cloned(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert "read already" in request(guest, "/twice", b"x").error["message"]
    assert body_of(request(guest, "/clone", b"ab")) == b"abab"


def test_cookies_stay_apart(new_guest: NewGuest) -> None:
    settled = request(new_guest(SOURCE), "/cookies")
    assert settled.result["status"] == 204
    assert settled.result["headers"] == [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-seen", "a=1|b=2"]]


def test_redirects_forms_and_large_bodies(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    redirect = request(guest, "/redirect").result
    assert (redirect["status"], redirect["headers"]) == (303, [["location", "https://example.com/"]])
    form = request(guest, "/form")
    assert body_of(form) == b"a=1+2"
    assert form.result["headers"][0][1].startswith("application/x-www-form-urlencoded")
    assert body_of(request(guest, "/big")) == b"A" * 5000


def test_a_request_that_the_tenant_makes(new_guest: NewGuest) -> None:
    body = body_of(request(new_guest(SOURCE), "/made")).decode()
    assert body == '["POST","http://h/x","text/plain;charset=UTF-8","b",true,false]'


def test_headers_are_sorted_and_joined_for_reading(new_guest: NewGuest) -> None:
    body = body_of(request(new_guest(SOURCE), "/headers")).decode()
    assert body == (
        '[[["a","2"],["b","1, 3"],["set-cookie","x"],["set-cookie","y"]],false,"1, 3",'
        '["b","set-cookie","set-cookie"],null]'
    )


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/none", "must return a Response"),
        ("/missing", "must return a Response"),
        ("/stream", "must be a string, bytes, a stream"),
        ("/badHeader", "not a name of a header"),
        ("/inject", "line break"),
        ("/status", "from 200 to 599"),
    ],
)
def test_what_is_no_response_is_a_clear_error(new_guest: NewGuest, path: str, part: str) -> None:
    assert part in request(new_guest(SOURCE), path).error["message"]


def test_a_response_may_come_in_a_later_turn_with_its_own_buffers(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.deliver({"type": "request", "method": "GET", "path": "/slow", "headers": [], "body": ""}) == []
    (settled,) = guest.complete(guest.host.timers[0][0])
    assert body_of(settled) == b"done"


def test_several_large_bodies_in_one_reply_keep_their_order(new_guest: NewGuest) -> None:
    source = """const waiting = []; export default { async onRequest(request) {
      const b = await request.bytes(); await new Promise((r) => waiting.push(r)); return new Response(b); },
      actions: { go() { for (const r of waiting) r(); } } }"""
    guest = new_guest(source)
    for i in (65, 66):
        buffers = Buffers()
        field = buffers.field(bytes([i]) * 2000)
        guest.deliver({"type": "request", "method": "PUT", "path": "/", "headers": [], "body": field}, buffers=buffers)
    settled = guest.deliver({"type": "action", "name": "go", "args": []})
    assert [body_of(one) for one in settled if one.result] == [b"A" * 2000, b"B" * 2000]


def test_an_actor_without_on_request_says_so(new_guest: NewGuest) -> None:
    assert request(new_guest("export default { actions: {} }"), "/").error["code"] == "action_not_found"
