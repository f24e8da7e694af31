"""The manager API: creating, finding, listing, putting to sleep, destroying."""

from __future__ import annotations

import base64
from typing import Any

import cbor2
import httpx
import pytest

from host.gateway.auth import AuthPolicy
from host.model.limits import Limits
from tests.gateway.support import NOW, World, error_of

pytestmark = pytest.mark.anyio

FIELDS = {
    "actor_id", "name", "key", "namespace_id", "datacenter", "runner_name_selector", "crash_policy", "create_ts",
    "start_ts", "pending_allocation_ts", "connectable_ts", "sleep_ts", "reschedule_ts", "destroy_ts", "error",
}  # fmt: skip


async def put(http: httpx.AsyncClient, query: str = "", **body: Any) -> httpx.Response:
    return await http.put(f"/actors{query}", json=body)


async def test_put_gets_or_creates_by_name_and_key(http: httpx.AsyncClient) -> None:
    first = await put(http, name="room", key="a/b", crash_policy="sleep", runner_name_selector="x", datacenter="d")
    again = await put(http, name="room", key="a/b")
    assert (first.status_code, first.json()["created"], again.json()["created"]) == (200, True, False)
    actor = first.json()["actor"]
    assert actor == again.json()["actor"]
    assert actor.keys() == FIELDS
    assert (actor["name"], actor["key"], actor["namespace_id"], actor["create_ts"]) == ("room", "a/b", "default", NOW)
    assert first.headers["x-rivet-actor"] == actor["actor_id"]
    assert (first.headers["x-rivet-actor-generation"], first.headers["x-rivet-actor-key"]) == ("1", "a/b")


async def test_post_refuses_a_key_that_is_taken(http: httpx.AsyncClient) -> None:
    assert (await http.post("/actors", json={"name": "room", "key": "k"})).status_code == 200
    twice = await http.post("/actors", json={"name": "room", "key": "k"})
    assert (twice.status_code, error_of(twice)) == (400, "actor/duplicate_key")


@pytest.mark.parametrize(
    ("text", "parts"),
    [("/", ()), ("a", ("a",)), ("a/b", ("a", "b")), (r"a\/b\\", ("a/b\\",)), (r"\0/x", ("", "x")), ("ü,€", ("ü,€",))],
)
async def test_keys_are_read_and_written_in_the_escaped_form(
    world: World, http: httpx.AsyncClient, text: str, parts: tuple[str, ...]
) -> None:
    made = await put(http, name="room", key=text)
    assert made.json()["actor"]["key"] == text
    assert await world.service.find("default", "room", parts) is not None
    found = await http.get("/actors", params={"name": "room", "key": text})
    assert [actor["actor_id"] for actor in found.json()["actors"]] == [made.json()["actor"]["actor_id"]]


async def test_without_a_key_the_empty_one_is_meant(http: httpx.AsyncClient) -> None:
    assert (await put(http, name="room")).json()["actor"]["key"] == "/"
    assert (await put(http, name="room", key=None)).json()["created"] is False


async def test_input_is_base64_of_cbor_and_becomes_a_value(world: World, http: httpx.AsyncClient) -> None:
    text = base64.b64encode(cbor2.dumps({"n": 1, "b": b"\x01"})).decode()
    made = await put(http, name="room", input=text)
    record = await world.service.record(made.json()["actor"]["actor_id"])
    assert record.input == b'{"n":1,"b":["$Uint8Array","AQ=="]}'


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "request/invalid"),
        (b'{"name":"a","name":"b"}', "request/invalid"),
        (b'{"name":1}', "request/invalid"),
        (b'{"key":"a"}', "request/invalid"),
        (b'{"name":""}', "actor/empty_name"),
        (b'{"name":"nobody"}', "definition/not_found"),
        (b'{"name":"a","key":"\\\\x"}', "actor/invalid_request"),
        (b'{"name":"a","key":"' + b"k" * 129 + b'"}', "actor/key_too_large"),
        (b'{"name":"a","input":"%%%"}', "actor/invalid_request"),
        (b'{"name":"a","input":"/w=="}', "request/invalid"),
        (b'{"name":"a","input":"' + b"A" * 2_000 + b'"}', "actor/input_too_large"),
        (b'{"name":"' + b"x" * 30_000 + b'"}', "request/too_large"),
    ],
)
async def test_a_bad_body_is_refused_with_its_code(body: bytes, error: str) -> None:
    async with World(AuthPolicy(dev=True), Limits(input=1_000)).client() as http:
        response = await http.put("/actors", content=body)
    assert error_of(response) == error
    assert response.status_code in (400, 404, 413)


async def test_actors_are_found_by_ids_and_missing_ones_are_left_out(http: httpx.AsyncClient) -> None:
    ids = [(await put(http, name="room", key=key)).json()["actor"]["actor_id"] for key in "ab"]
    found = await http.get("/actors", params={"actor_ids": f"{ids[0]},{'f' * 32},junk,{ids[1]}"})
    assert [actor["actor_id"] for actor in found.json()["actors"]] == ids
    repeated = await http.get("/actors", params=[("actor_ids", ids[0]), ("actor_ids", ids[0]), ("actor_ids", ids[1])])
    assert len(repeated.json()["actors"]) == 2
    elsewhere = await http.get("/actors", params={"actor_ids": ids[0], "namespace": "other"})
    assert elsewhere.json() == {"actors": [], "pagination": {}}
    many = await http.get("/actors", params={"actor_ids": ",".join(f"{n:032x}" for n in range(101))})
    assert error_of(many) == "request/invalid"


async def test_a_lookup_by_key_without_an_actor_is_empty(http: httpx.AsyncClient) -> None:
    assert (await http.get("/actors?name=room&key=none")).json() == {"actors": [], "pagination": {}}
    assert error_of(await http.get("/actors?key=none")) == "actor/empty_name"


async def test_listing_is_paged(http: httpx.AsyncClient) -> None:
    for key in "abc":
        await put(http, name="room", key=key)
    await put(http, name="other", key="a")
    first = (await http.get("/actors?name=room&limit=2&include_destroyed=true")).json()
    rest = (await http.get("/actors", params={"name": "room", "cursor": first["pagination"]["cursor"]})).json()
    assert {actor["key"] for actor in first["actors"] + rest["actors"]} == {"a", "b", "c"}
    assert len((await http.get("/actors")).json()["actors"]) == 4
    assert (await http.get("/actors/names")).json()["names"].keys() == {"room", "other"}


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=-1", "limit=1001", "limit=1e3", "cursor=junk"])
async def test_a_bad_page_is_refused(http: httpx.AsyncClient, query: str) -> None:
    assert error_of(await http.get(f"/actors?{query}")) == "request/invalid"


async def test_namespaces_are_apart(http: httpx.AsyncClient) -> None:
    one = await put(http, "?namespace=one", name="room")
    two = await put(http, "?namespace=two", name="room")
    assert one.json()["actor"]["actor_id"] != two.json()["actor"]["actor_id"]
    assert two.json()["actor"]["namespace_id"] == "two"
    for bad in ("", "A", "a_b", "a" * 65):
        assert error_of(await put(http, f"?namespace={bad}", name="room")) == "request/invalid"


async def test_an_actor_is_put_to_sleep_and_destroyed_by_its_id(world: World, http: httpx.AsyncClient) -> None:
    actor_id = (await put(http, name="room")).json()["actor"]["actor_id"]
    assert error_of(await http.delete(f"/actors/{actor_id}?namespace=other")) == "actor/not_found"
    assert (await http.post(f"/actors/{actor_id}/sleep")).json() == {}
    assert world.service.slept == [actor_id]
    assert (await http.delete(f"/actors/{actor_id}?namespace=default")).json() == {}
    gone = await http.delete(f"/actors/{actor_id}")
    assert (gone.status_code, error_of(gone)) == (404, "actor/not_found")
    assert error_of(await http.delete("/actors/junk")) == "actor/not_found"


async def test_who_destroys_one_that_is_being_destroyed_joins(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor("room", "k")
    await world.service.driver.begin_destroy(record.actor_id)
    world.service.doomed = record
    assert error_of(await http.delete(f"/actors/{record.actor_id}?namespace=other")) == "actor/not_found"
    assert error_of(await http.get(f"/actors/{record.actor_id}/status")) == "actor/not_found"
    assert (await http.get(f"/actors?actor_ids={record.actor_id}")).json()["actors"] == []
    assert (await http.delete(f"/actors/{record.actor_id}")).json() == {}
    world.service.doomed = None
    assert error_of(await http.delete(f"/actors/{record.actor_id}")) == "actor/not_found"


async def test_times_follow_the_lifecycle(world: World, http: httpx.AsyncClient) -> None:
    actor = (await put(http, name="room")).json()["actor"]
    assert (actor["connectable_ts"], actor["destroy_ts"], actor["error"]) == (None, None, None)


async def test_nothing_new_is_taken_while_draining(world: World, http: httpx.AsyncClient) -> None:
    world.status = "draining"
    refused = await put(http, name="room")
    assert (refused.status_code, error_of(refused), refused.headers["retry-after"]) == (503, "node/draining", "1")
    assert error_of(await http.post(f"/gateway/{'0' * 32}/action/x")) == "node/draining"
    assert (await http.get("/limits")).status_code == 200


async def test_metadata_answers(http: httpx.AsyncClient) -> None:
    assert (await http.get("/metadata")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing", 404, "request/not_found"),
        ("PATCH", "/actors", 405, "request/method_not_allowed"),
        ("POST", "/limits", 405, "request/method_not_allowed"),
        ("OPTIONS", "/limits", 405, "request/method_not_allowed"),
        ("GET", "/actors/", 404, "request/not_found"),
    ],
)
async def test_unknown_paths_and_methods(
    http: httpx.AsyncClient, method: str, path: str, status: int, error: str
) -> None:
    response = await http.request(method, path)
    assert (response.status_code, error_of(response)) == (status, error)
