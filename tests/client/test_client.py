"""The client's requests, and what it makes of the answers."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import anyio
import cbor2
import httpx
import pytest

from host.client import Client
from host.model.errors import CallerError, DormiceError, TenantError, UnavailableError
from host.model.snapshot import ActorSnapshot

from .double import Double

pytestmark = pytest.mark.anyio

ACTOR = {"actor_id": "a" * 32, "name": "counter", "key": "x", "namespace_id": "default", "create_ts": 5}
SNAPSHOT: dict[str, Any] = {
    "actor_id": "a" * 32, "namespace": "default", "name": "counter", "key": ["x"], "generation": 1, "epoch": 2,
    "lifecycle": "asleep", "module": {"digest": "sha256:" + "0" * 64, "definition": "counter", "version": 1},
    "created_at": 1, "started_at": 2, "slept_at": None, "wake_at": None, "attempt": 0, "retry_at": None,
    "last_error": None, "connections": [], "alarms": [], "kv": {"keys": 0, "bytes": 0}, "state_bytes": 2,
    "dead_letters": [],
}  # fmt: skip


def client(double: Double, **more: Any) -> Client:
    return Client("http://host.test", transport=double, **more)


async def failure(double: Double) -> DormiceError:
    with pytest.raises(DormiceError) as caught:
        async with client(double) as host:
            await host.call("a", "act")
    return caught.value


async def test_the_client_loads_without_the_engine_and_without_the_command_line() -> None:
    check = (
        "import sys, host.client; sys.exit(bool({'wasmtime', 'typer', 'starlette', 'aiosqlite'} & set(sys.modules)))"
    )
    process = await anyio.run_process([sys.executable, "-c", check], check=False, stderr=subprocess.PIPE)
    assert process.returncode == 0, process.stderr.decode()


async def test_deploying_bytes_uploads_them_and_points_the_definition_at_their_digest() -> None:
    digest = "sha256:" + "1" * 64
    double = Double(
        (201, {"digest": digest, "kind": "js", "size": 3, "extra": True}),
        (200, {"name": "counter", "version": 4, "module": digest}),
    )
    async with client(double, token="t0") as host:
        got = await host.deploy("counter", b"src", "text/javascript")
    assert (got.version, got.module) == (4, digest)
    assert double.line(0) == "POST /modules"
    assert double.requests[0].content == b"src"
    assert double.requests[0].headers["content-type"] == "text/javascript"
    assert double.requests[0].headers["authorization"] == "Bearer t0"
    assert double.line(1) == "PUT /definitions/counter"
    assert double.body(1) == {"module": digest}


async def test_deploying_by_url_leaves_the_loading_to_the_host() -> None:
    double = Double((200, {"name": "n", "version": 1, "module": "sha256:x"}))
    async with client(double) as host:
        await host.deploy_url("n", "https://example.org/m.js", "ab")
    assert double.body() == {"url": "https://example.org/m.js", "sha256": "ab"}


@pytest.mark.parametrize(
    ("key", "text"), [((), "/"), (("a", "b"), "a/b"), (("a/b", ""), "a\\/b/\\0"), (("back\\slash",), "back\\\\slash")]
)
async def test_a_key_travels_in_the_manager_form(key: Sequence[str], text: str) -> None:
    double = Double((200, {"actor": ACTOR, "created": True}))
    async with client(double) as host:
        actor = await host.get_or_create("counter", key)
    assert actor.actor_id == "a" * 32
    assert double.line() == "PUT /actors"
    assert double.body() == {"name": "counter", "key": text}


async def test_a_creation_input_travels_as_base64_of_cbor() -> None:
    double = Double((200, {"actor": ACTOR}))
    async with client(double) as host:
        await host.get_or_create("counter", ["x"], {"start": 3})
    assert cbor2.loads(b64decode(double.body()["input"])) == {"start": 3}


async def test_arguments_and_results_are_values() -> None:
    double = Double((200, {"output": ["$Uint8Array", "aGk="]}))
    async with client(double) as host:
        got = await host.call("a b/c", "do it", 1, b"hi", 2**70, {"k": None})
    assert got == b"hi"
    assert double.line() == "POST /gateway/a%20b%2Fc/action/do%20it"
    assert double.body() == {"args": [1, ["$Uint8Array", "aGk="], ["$BigInt", str(2**70)], {"k": None}]}


async def test_an_action_without_a_result_is_none() -> None:
    async with client(Double((200, {"output": None}))) as host:
        assert await host.call("a", "act") is None


async def test_another_namespace_is_named_in_every_request() -> None:
    double = Double((200, {"actors": [ACTOR], "pagination": {"cursor": "c"}}), (200, {"status": "up"}))
    async with client(double, namespace="blue") as host:
        page = await host.actors("counter", limit=5)
        await host.health()
    assert double.line(0) == "GET /actors?name=counter&limit=5&namespace=blue"
    assert double.line(1) == "GET /health?namespace=blue"
    assert (page.actors[0].name, page.cursor) == ("counter", "c")


async def test_a_snapshot_comes_typed() -> None:
    async with client(Double((200, SNAPSHOT))) as host:
        snapshot = await host.snapshot("a")
    assert isinstance(snapshot, ActorSnapshot)
    assert (snapshot.lifecycle, snapshot.last_error) == ("asleep", None)


async def test_a_module_comes_with_its_report() -> None:
    common = {"digest": "sha256:ab", "kind": "wasm", "size": 9, "manifest": {"abi": 1}}
    shown = common | {"stored_at": 5, "source_url": None}
    report = common | {"capabilities": ["kv"]}
    double = Double((200, shown | {"report": report | {"functions": 3}}), (200, shown | {"report": None}))
    async with client(double) as host:
        module = await host.module("sha256:ab")
        assert (await host.module("ab")).report is None
    assert double.line() == "GET /modules/sha256%3Aab"
    assert module.report is not None
    assert (module.size, module.report.functions, module.report.imports) == (9, 3, ())


async def test_the_last_error_of_a_snapshot_keeps_its_metadata() -> None:
    failed = SNAPSHOT | {"last_error": {"group": "user", "code": "no", "message": "why", "metadata": {"n": [1]}}}
    async with client(Double((200, failed), (200, b'{"actor_id": 1}'))) as host:
        error = (await host.snapshot("a")).last_error
        with pytest.raises(DormiceError) as caught:
            await host.snapshot("a")
    assert error is not None
    assert (error.name, error.metadata) == ("user/no", b'{"n":[1]}')
    assert caught.value.name == "client/bad_answer"


@pytest.mark.parametrize(("status", "told"), [(200, "up"), (503, "draining")])
async def test_health_is_an_answer_also_while_the_host_drains(status: int, told: str) -> None:
    async with client(Double((status, {"status": told}))) as host:
        assert (await host.health()).status == told


async def test_sleep_and_destroy_ask_for_the_actor_by_id() -> None:
    double = Double((200, {}), (200, {}))
    async with client(double) as host:
        await host.sleep("a")
        await host.destroy("a")
    assert [double.line(0), double.line(1)] == ["POST /actors/a/sleep", "DELETE /actors/a"]


@pytest.mark.parametrize(
    ("status", "group", "code", "kind"),
    [
        (404, "actor", "not_found", CallerError),
        (400, "user", "too_low", TenantError),
        (500, "guest", "trap", TenantError),
        (503, "node", "full", UnavailableError),
        (500, "internal", "internal_error", DormiceError),
    ],
)
async def test_an_error_of_the_host_is_raised_as_itself(status: int, group: str, code: str, kind: type) -> None:
    double = Double((status, {"group": group, "code": code, "message": "why", "metadata": {"n": 1}, "actor": None}))
    double.headers["retry-after"] = "7"
    error = await failure(double)
    assert type(error) is kind
    assert (error.name, error.message) == (f"{group}/{code}", "why")
    assert error.metadata == b'{"n":1}'
    assert error.retry_after == 7.0
    assert error.retryable is (status == 503)


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"", b'{"error": 1}', b"\xff"])
async def test_an_answer_that_is_not_a_hosts_is_an_error_of_the_client(body: bytes) -> None:
    assert (await failure(Double((502, body)))).name == "client/bad_answer"
    assert (await failure(Double((200, body or b"[]")))).name == "client/bad_answer"


async def test_nobody_listening_says_how_to_start_a_host() -> None:
    class Refused(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

    async with Client("http://127.0.0.1:1", transport=Refused()) as host:
        with pytest.raises(UnavailableError) as caught:
            await host.health()
    assert caught.value.name == "client/unreachable"
    assert "dormice serve" in caught.value.message
