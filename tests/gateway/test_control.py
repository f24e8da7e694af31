"""The control plane: modules, definitions, snapshots, limits, metrics."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import cbor2
import httpx
import pytest

from host.gateway.auth import AuthPolicy
from host.model.limits import LIMITS, Limits
from host.modules.admission import survey_js
from tests.gateway.support import World, error_of

pytestmark = pytest.mark.anyio

WASM = {"content-type": "application/wasm"}
JS = {"content-type": "text/javascript; charset=utf-8"}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def upload(http: httpx.AsyncClient, data: bytes = b"code") -> str:
    text: str = (await http.post("/modules", content=data, headers=WASM)).json()["digest"]
    return text


async def test_a_module_is_uploaded_as_its_bytes(http: httpx.AsyncClient) -> None:
    response = await http.post("/modules", content=b"export default {}", headers=JS)
    assert response.status_code == 201
    body = response.json()
    assert (body["digest"], body["kind"], body["size"]) == (digest(b"export default {}"), "js", 17)
    assert (await http.get("/modules")).json()["modules"] == [body]
    assert (await http.get(f"/modules/{body['digest']}")).json() == body | {"report": None}
    assert (await http.get(f"/modules/{body['digest'].removeprefix('sha256:')}")).json() == body | {"report": None}
    assert (await http.get("/modules?namespace=other")).json() == {"modules": []}


async def test_a_module_is_shown_with_the_report_of_its_admission(world: World, http: httpx.AsyncClient) -> None:
    record = await world.modules.upload("default", b"code", "text/javascript")
    await world.driver.put_module(record, b"code", survey_js(b"code", Limits()))
    report = (await http.get(f"/modules/{record.digest}")).json()["report"]
    assert (report["digest"], report["size"], report["lines"]) == (digest(b"code"), 4, 1)
    assert error_of(await http.get(f"/modules/{record.digest}?namespace=other")) == "module/not_found"


async def test_a_module_is_loaded_from_a_url_with_its_hash(world: World, http: httpx.AsyncClient) -> None:
    sha = digest(b"fetched")
    response = await http.post("/modules", json={"url": "https://example.org/m.js", "sha256": sha})
    assert (response.status_code, response.json()["digest"]) == (201, sha)
    assert world.modules.loaded == [("https://example.org/m.js", sha.removeprefix("sha256:"))]


@pytest.mark.parametrize(
    ("content", "headers", "error"),
    [
        (b"x", {"content-type": "text/plain"}, "module/unsupported_type"),
        (b"x", {}, "module/unsupported_type"),
        (b"{}", {"content-type": "application/json"}, "request/invalid"),
        (b'{"url":"u","sha256":"abc"}', {"content-type": "application/json"}, "request/invalid"),
        (
            b'{"url":"u","url":"v","sha256":"' + b"0" * 64 + b'"}',
            {"content-type": "application/json"},
            "request/invalid",
        ),
        (b'{"url":"u","sha256":"' + b"0" * 64 + b'","x":1}', {"content-type": "application/json"}, "request/invalid"),
    ],
)
async def test_a_bad_upload_is_refused(
    http: httpx.AsyncClient, content: bytes, headers: dict[str, str], error: str
) -> None:
    assert error_of(await http.post("/modules", content=content, headers=headers)) == error


@pytest.mark.parametrize("announced", [True, False])
async def test_a_module_that_is_too_large_is_refused_while_it_streams(announced: bool) -> None:
    read = 0

    async def chunks() -> Any:
        nonlocal read
        for _ in range(100):
            read += 10
            yield b"x" * 10

    async with World(AuthPolicy(dev=True), Limits(module=25)).client() as http:
        headers = WASM | ({"content-length": "1000"} if announced else {})
        response = await http.post("/modules", content=chunks(), headers=headers)
    assert (response.status_code, error_of(response)) == (413, "module/too_large")
    assert response.json()["metadata"] == {"limit": "module", "used": 1000 if announced else 30, "allowed": 25}
    assert read <= 40


async def test_a_module_that_is_not_there(http: httpx.AsyncClient) -> None:
    assert error_of(await http.get("/modules/" + "0" * 64)) == "module/not_found"
    assert error_of(await http.get("/modules/junk")) == "request/invalid"


async def test_a_definition_gets_a_version_with_every_put(http: httpx.AsyncClient) -> None:
    module = await upload(http)
    body = {"module": module, "options": {"sleep_timeout": 500, "hibernate": False}, "limits": {"memory": 1_000_000}}
    first = await http.put("/definitions/chat.room-1", json=body)
    made = {"name": "chat.room-1", "version": 1, "module": module, "percent": 100}
    assert (first.status_code, first.json()) == (200, made)
    assert (await http.put("/definitions/chat.room-1", json={"module": module})).json()["version"] == 2
    await http.put("/definitions/a", json=body)
    shown = (await http.get("/definitions/a")).json()
    assert (shown["options"], shown["limits"]) == (body["options"], body["limits"])
    assert [each["name"] for each in (await http.get("/definitions")).json()["definitions"]] == ["a", "chat.room-1"]


async def test_a_definition_may_open_the_way_out_and_shows_it(http: httpx.AsyncClient) -> None:
    options = {"egress": {"hosts": ["api.example.com", "*.example.org", "c.example:8443"], "methods": ["GET"]}}
    await http.put("/definitions/a", json={"module": await upload(http), "options": options})
    assert (await http.get("/definitions/a")).json()["options"] == options


async def test_a_definition_may_name_a_url(world: World, http: httpx.AsyncClient) -> None:
    sha = digest(b"fetched")
    made = await http.put("/definitions/room", json={"url": "https://example.org/m.js", "sha256": sha})
    assert made.json() == {"name": "room", "version": 1, "module": sha, "percent": 100}


@pytest.mark.parametrize("name", ["a b", "ü", "x" * 65, "a%2Fb", "a:b"])
async def test_a_bad_name_is_refused(http: httpx.AsyncClient, name: str) -> None:
    response = await http.put(f"/definitions/{name}", json={"module": "0" * 64})
    assert error_of(response) in ("definition/invalid_name", "request/not_found")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "request/invalid"),
        ({"module": "0" * 64}, "module/not_found"),
        ({"module": "0" * 64, "url": "u", "sha256": "0" * 64}, "request/invalid"),
        ({"url": "u"}, "request/invalid"),
        ({"module": "0" * 64, "mdoule": 1}, "request/invalid"),
        ({"module": "0" * 64, "options": {"sleepTimeout": 1}}, "definition/invalid_options"),
        ({"module": "0" * 64, "options": {"sleep_timeout": 0}}, "definition/invalid_options"),
        ({"module": "0" * 64, "options": {"action_timeout": 600_001}}, "definition/invalid_options"),
        ({"module": "0" * 64, "options": {"hibernate": "yes"}}, "definition/invalid_options"),
        ({"module": "0" * 64, "options": {"egress": ["a.example"]}}, "definition/invalid_options"),
        ({"module": "0" * 64, "options": {"egress": {"hosts": []}}}, "definition/invalid_options"),
        ({"module": "0" * 64, "options": {"egress": {"hosts": ["https://a.example"]}}}, "definition/invalid_options"),
        ({"module": "0" * 64, "options": {"egress": {"host": ["a.example"]}}}, "definition/invalid_options"),
        ({"module": "0" * 64, "limits": {"module": 1}}, "definition/invalid_options"),
        ({"module": "0" * 64, "limits": {"memory": 10**12}}, "definition/invalid_options"),
        ({"module": "0" * 64, "limits": {"memory": 1.5}}, "definition/invalid_options"),
        ({"module": "0" * 64, "limits": {"memory": True}}, "definition/invalid_options"),
        ({"module": "x" * 70_000}, "request/too_large"),
    ],
)
async def test_a_bad_definition_is_refused(http: httpx.AsyncClient, body: dict[str, Any], error: str) -> None:
    assert error_of(await http.put("/definitions/room", json=body)) == error


async def test_a_definition_that_is_not_there(http: httpx.AsyncClient) -> None:
    response = await http.get("/definitions/none")
    assert (response.status_code, error_of(response)) == (404, "definition/not_found")


async def test_the_snapshot_is_json_or_cbor(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor()
    path = f"/actors/{record.actor_id}/snapshot"
    shown = (await http.get(path)).json()
    assert shown["actor_id"] == record.actor_id
    assert shown["connections"][0]["msg_index"] == 7
    assert (shown["connections"][0]["state"], shown["connections"][0]["params"]) == (["$BigInt", "5"], None)

    response = await http.get(path, headers={"accept": "application/cbor"})
    assert response.headers["content-type"] == "application/cbor"
    tree = cbor2.loads(response.content)
    assert tree["connections"][0]["state"] == ["$BigInt", "5"]
    assert tree["key"] == ["$$not", "a tag"], "what looks like a tag is escaped, for the document is a Value"
    assert tree.keys() == shown.keys()

    assert error_of(await http.get(path + "?namespace=other")) == "actor/not_found"
    assert error_of(await http.get(f"/actors/{'0' * 32}/snapshot")) == "actor/not_found"


async def test_limits_tell_what_is_in_force() -> None:
    async with World(AuthPolicy(dev=True), Limits(message=9)).client() as http:
        rows = {row["name"]: row for row in (await http.get("/limits")).json()["limits"]}
    assert rows.keys() == {limit.name for limit in LIMITS}
    assert (rows["message"]["value"], rows["message"]["default"], rows["message"]["unit"]) == (9, 1_048_576, "bytes")


async def test_metrics_are_prometheus_text(http: httpx.AsyncClient) -> None:
    await http.get("/nothing")
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'dormice_errors_total{reason="request/not_found"} 1' in response.text


async def test_answers_are_json_without_blanks(http: httpx.AsyncClient) -> None:
    response = await http.get("/definitions")
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.content) == {"definitions": []}
