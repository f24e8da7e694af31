"""Keys and creation input over the network: one key is one actor on every route, and only a creation sees its input."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from host.client import Client
from host.wire.cbor import value_to_cbor
from host.wire.keys import encode_key
from host.wire.values import from_python
from tests.end_to_end.answers import refused
from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

KEEPER = b"""
import { actor } from "isolate";
const seen = [];
export default actor({
  createState(c, input) { return { created: input === undefined ? "none" : input, starts: [] }; },
  onCreate(c, input) { c.state.onCreate = input === undefined ? "none" : input; },
  onWake(c, ...more) { c.state.starts.push(more.length); },
  onSleep(c, ...more) { c.state.starts.push(more.length); },
  actions: { get(c) { return { key: c.key, state: c.state }; }, fail() { throw new Error("on purpose"); } },
});
"""
NFC, NFD = "caf\u00e9", "cafe\u0301"
KEYS: list[tuple[str, ...]] = [
    (),
    ("",),
    ("", ""),
    ("", "a"),
    ("a", ""),
    ("a", "b"),
    ("a/b",),
    ("a\\/b",),
    ("\\",),
    ("\\0",),
    ("0",),
    ("/",),
    ("//",),
    (" ",),
    ("a b",),
    ("a+b",),
    ("a%2Fb",),
    ("a&b=c#d?e",),
    (NFC,),
    (NFD,),
    ("\u202e\u0000\r\n\t",),
    ("\U0001f98a" * 32,),
    ("x" * 128,) * 7 + ("y" * 121,),
    # These cannot be told on the query route.
    ("a,b",),
    ("a", "b,c"),
    (",",),
]


@pytest.fixture(scope="module")
async def host(new_module_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_module_dir()) as host:
        await host.deploy("keeper", KEEPER)
        yield host


def on_query(key: tuple[str, ...], method: str = "getOrCreate") -> str:
    wanted = f"&rvt-key={quote(','.join(key), safe='')}" if key else ""
    return f"/gateway/keeper/action/get?rvt-namespace=default&rvt-method={method}{wanted}"


def in_base64(value: Any) -> str:
    return base64.b64encode(value_to_cbor(from_python(value))).decode()


async def test_each_key_is_one_actor_on_every_route(host: TestHost) -> None:
    found: dict[str, tuple[str, ...]] = {}
    async with Client(host.url) as client:
        for key in KEYS:
            text = encode_key(key)
            made = await host.http.put("/actors", json={"name": "keeper", "key": text})
            actor = made.json()["actor"]
            assert (made.json()["created"], actor["key"]) == (True, text), key
            assert found.setdefault(actor["actor_id"], key) == key
            looked_up = await host.http.get("/actors", params={"name": "keeper", "key": text})
            assert [one["actor_id"] for one in looked_up.json()["actors"]] == [actor["actor_id"]], key
            assert (await client.get_or_create("keeper", key)).actor_id == actor["actor_id"]
            assert (await host.snapshot(actor["actor_id"]))["key"] == list(key)
            assert (await host.call(actor["actor_id"], "get"))["key"] == list(key)
            again = await host.http.post("/actors", json={"name": "keeper", "key": text})
            assert actor["actor_id"] in refused(again, 400, "actor/duplicate_key")["message"]
            if not any("," in part for part in key):
                for method in ("get", "getOrCreate"):
                    answer = await host.http.post(on_query(key, method), json={"args": []})
                    assert answer.json()["output"]["key"] == list(key), key
                    assert answer.headers["x-rivet-actor"] == actor["actor_id"]
                    assert unquote(answer.headers["x-rivet-actor-key"]) == text
    assert len(found) == len(KEYS)
    listed = (await host.http.get("/actors?name=keeper&limit=1000")).json()["actors"]
    assert {one["key"] for one in listed} == {encode_key(key) for key in KEYS}


async def test_a_comma_in_a_query_divides_parts(host: TestHost) -> None:
    answer = await host.http.post(on_query(("a", "b")), json={"args": []})
    assert answer.json()["output"]["key"] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a//b", "actor/invalid_request"),
        ("a/", "actor/invalid_request"),
        ("\\x", "actor/invalid_request"),
        ("\\", "actor/invalid_request"),
        ("x" * 129, "actor/key_too_large"),
        (NFC[-1] * 65, "actor/key_too_large"),
        ("/".join(["x" * 128] * 8), "actor/key_too_large"),
    ],
)
async def test_a_key_that_is_none_is_refused_on_every_route(host: TestHost, text: str, error: str) -> None:
    for answer in (
        await host.http.put("/actors", json={"name": "keeper", "key": text}),
        await host.http.post("/actors", json={"name": "keeper", "key": text}),
        await host.http.get("/actors", params={"name": "keeper", "key": text}),
    ):
        refused(answer, 400, error)


@pytest.mark.parametrize("key", ["x" * 129, ",".join(["x" * 128] * 8)])
async def test_a_key_over_its_limit_is_refused_on_the_query_route(host: TestHost, key: str) -> None:
    answer = await host.http.post(f"/gateway/keeper/action/get?rvt-method=getOrCreate&rvt-key={key}", json={"args": []})
    assert set(refused(answer, 400, "actor/key_too_large")["metadata"]) == {"limit", "used", "allowed"}


async def test_a_key_that_is_no_text_is_refused(host: TestHost) -> None:
    body = b'{"name":"keeper","key":"\\ud800"}'
    answer = await host.http.put("/actors", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


VALUES: list[Any] = [None, 0, "", [], {}, "text", NFD, [1, "two", {"three": [None, True, 1.5]}], b"\x00\xff", 2**70]


@pytest.mark.parametrize("number", range(len(VALUES)))
async def test_input_is_seen_in_the_creation_only(host: TestHost, number: int) -> None:
    value = VALUES[number]
    async with Client(host.url) as client:
        body = {"name": "keeper", "key": f"input-{number}", "input": in_base64(value)}
        actor = (await host.http.put("/actors", json=body)).json()["actor"]["actor_id"]
        first = (await client.call(actor, "get"))["state"]
        await client.sleep(actor)
        # Another input changes nothing for an actor that is there, asleep or awake.
        for _ in range(2):
            body["input"] = in_base64("another")
            assert (await host.http.put("/actors", json=body)).json()["created"] is False
            state = (await client.call(actor, "get"))["state"]
        assert first["created"] == first["onCreate"] == state["created"] == state["onCreate"] == value
        # onWake, onSleep and the second onWake were given nothing.
        assert state["starts"] == [0, 0, 0]


async def test_the_query_route_brings_input_too(host: TestHost) -> None:
    value = base64.urlsafe_b64encode(value_to_cbor(b'{"from":"query"}')).decode().rstrip("=")
    answer = await host.http.post(f"{on_query(('queried',))}&rvt-input={value}", json={"args": []})
    assert answer.json()["output"]["state"]["created"] == {"from": "query"}
    without = await host.http.post(on_query(("queried",), "get"), json={"args": []})
    assert without.json()["output"]["state"]["created"] == {"from": "query"}
    both = await host.http.post(f"{on_query(('queried',), 'get')}&rvt-input={value}", json={"args": []})
    refused(both, 400, "guard/query_invalid_param")


async def test_without_input_a_creation_sees_none(host: TestHost) -> None:
    state = (await host.call(await host.actor("keeper", "no-input"), "get"))["state"]
    assert (state["created"], state["onCreate"]) == ("none", "none")


async def test_an_input_is_kept_until_the_first_start_and_gone_after_it(host: TestHost) -> None:
    storage = host.node.placement._storage
    actor = await host.actor("keeper", "kept", input=in_base64("secret"))
    record = await storage.get_actor(actor)
    assert record is not None
    assert record.input == b'"secret"'
    await host.call(actor, "get")
    record = await storage.get_actor(actor)
    assert record is not None
    assert record.input is None


@pytest.mark.parametrize(
    ("text", "status", "error"),
    [
        ("!", 400, "actor/invalid_request"),  # no base64
        ("gA", 400, "actor/invalid_request"),
        ("//8=", 400, "request/invalid"),  # no CBOR
        ("gA==", 200, ""),
        ("A" * (4 * 2**20 * 4 // 3 + 8), 400, "actor/input_too_large"),
        ("A" * 8_000_000, 413, "request/too_large"),
    ],
    ids=["no base64", "no padding", "no cbor", "an empty list", "too long", "far too long"],
)
async def test_an_input_that_is_none_is_refused(host: TestHost, text: str, status: int, error: str) -> None:
    answer = await host.http.put("/actors", json={"name": "keeper", "key": "bad", "input": text})
    if not error:
        assert answer.status_code == status
        await host.http.delete(f"/actors/{answer.json()['actor']['actor_id']}")
        return
    refused(answer, status, error)
    assert (await host.http.get("/actors", params={"name": "keeper", "key": "bad"})).json()["actors"] == []


async def test_a_destroyed_key_is_created_anew_with_the_next_generation(host: TestHost) -> None:
    numbers = itertools.count(1)
    for _ in range(3):
        number = next(numbers)
        made = await host.http.post("/actors", json={"name": "keeper", "key": "again", "input": in_base64(number)})
        actor = made.json()["actor"]["actor_id"]
        assert (await host.call(actor, "get"))["state"]["created"] == number
        assert (await host.snapshot(actor))["generation"] == number
        assert (await host.http.delete(f"/actors/{actor}")).json() == {}
