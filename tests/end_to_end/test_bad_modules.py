"""Modules that are refused: over HTTP, each with its stable code, a reason that helps, and no word of our insides."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import httpx
import pytest

from tests.end_to_end.answers import refused
from tests.end_to_end.host import TestHost, start_host
from tests.isolate.guests import ECHO, wasm
from tests.modules.guests import with_manifest
from tests.outbound.web import Handler, answer, saying, serving, silent

pytestmark = pytest.mark.anyio

JS, WASM = "text/javascript", "application/wasm"
GOOD = b'import { actor } from "isolate";\nexport default actor({ actions: { one() { return 1; } } });\n'
MEMORY = '(memory (export "memory") 1)'
ALLOC = '(func (export "isolate_alloc") (param i32) (result i32) i32.const 0)'
DELIVER = '(func (export "isolate_deliver") (param i32 i32) (result i64) i64.const 0)'
MISTYPED_ALLOC = '(func (export "isolate_alloc") (param i64) (result i32) i32.const 0)'
MISTYPED_MEMORY = '(global (export "memory") i32 (i32.const 1))'
FOREIGN = '(import "env" "system" (func (param i32)))'
PATH_OPEN = '(import "wasi_snapshot_preview1" "path_open" (func (param i32) (result i32)))'
MISTYPED_CALL = '(import "isolate" "host_call" (func (param i32)))'


@pytest.fixture(scope="module")
async def host(new_module_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    """One host for all: a refusal leaves nothing behind."""
    async with start_host(new_module_dir()) as host:
        yield host


def module(*fields: str) -> bytes:
    return with_manifest(wasm(f"(module {' '.join(fields)})"))


async def upload(host: TestHost, body: bytes, content_type: str) -> httpx.Response:
    with anyio.fail_after(20):
        return await host.http.post("/modules", content=body, headers={"content-type": content_type})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"this is no module", "not_wasm", id="not Wasm"),
        pytest.param(b"", "not_wasm", id="nothing"),
        pytest.param(f"(module {MEMORY} {ALLOC} {DELIVER})".encode(), "not_wasm", id="Wasm as text"),
        pytest.param(GOOD, "not_wasm", id="JavaScript as Wasm"),
        pytest.param(ECHO[:-9], "malformed", id="truncated"),
        pytest.param(with_manifest(ECHO)[:-3], "malformed", id="truncated in its last section"),
        pytest.param(with_manifest(ECHO[:8] + b"\xff" * 40), "malformed", id="damaged"),
        pytest.param(module(MEMORY, ALLOC), "bad_export", id="no isolate_deliver"),
        pytest.param(module(ALLOC, DELIVER), "bad_export", id="no memory"),
        pytest.param(module(MEMORY, DELIVER, MISTYPED_ALLOC), "bad_export", id="mistyped function"),
        pytest.param(module(MISTYPED_MEMORY, ALLOC, DELIVER), "bad_export", id="mistyped memory"),
        pytest.param(module(FOREIGN, MEMORY, ALLOC, DELIVER), "bad_import", id="import of another module"),
        pytest.param(module(PATH_OPEN, MEMORY, ALLOC, DELIVER), "bad_import", id="WASI that is not provided"),
        pytest.param(module(MISTYPED_CALL, MEMORY, ALLOC, DELIVER), "bad_import", id="mistyped import"),
        pytest.param(ECHO, "bad_manifest", id="no manifest"),
        pytest.param(with_manifest(ECHO, b"{"), "bad_manifest", id="manifest is not JSON"),
        pytest.param(with_manifest(ECHO, b'{"abi":7}'), "bad_manifest", id="another ABI"),
        pytest.param(with_manifest(ECHO, b'{"abi":1,"capabilities":["root"]}'), "bad_manifest", id="bad capability"),
    ],
)
async def test_wasm_that_does_not_fit_is_refused_with_a_reason(host: TestHost, body: bytes, code: str) -> None:
    error = refused(await upload(host, body, WASM), 400, f"module/{code}")
    assert len(error["message"]) > 10


async def test_the_reason_names_the_import_or_the_export_at_fault(host: TestHost) -> None:
    foreign = await upload(host, module(FOREIGN, MEMORY, ALLOC, DELIVER), WASM)
    assert "system" in refused(foreign, 400, "module/bad_import")["message"]
    bare = await upload(host, module(MEMORY, ALLOC), WASM)
    assert "isolate_deliver" in refused(bare, 400, "module/bad_export")["message"]


async def test_a_syntax_error_is_told_with_its_line_and_column(host: TestHost) -> None:
    source = b'import { actor } from "isolate";\nexport default actor({\n  actions: { one( { return 1; } },\n});\n'
    error = refused(await upload(host, source, JS), 400, "module/js_syntax")
    assert error["metadata"]["line"] == 3
    assert 10 < error["metadata"]["column"] < 30
    assert f"line 3, column {error['metadata']['column']}" in error["message"]


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        pytest.param(GOOD + b"throw new Error('my own words');\n", "js_threw", "my own words", id="throws"),
        pytest.param(b"throw null;", "js_threw", "null", id="throws nothing"),
        pytest.param(b"await Promise.reject(new TypeError('later'));", "js_threw", "later", id="rejects"),
        pytest.param(b"import 'fs';", "js_threw", "fs", id="imports what is not there"),
        pytest.param(b"for (;;) {}", "js_threw", "1000 ms", id="never ends"),
        pytest.param(b"const a = []; for (;;) a.push(new Uint8Array(1e6));", "js_threw", "memory", id="grows"),
        pytest.param(b"(function f() { f(); f(); })();", "js_threw", "stack", id="recurses"),
        pytest.param(b"export const nothing = 1;", "no_actor", "actor", id="exports no actor"),
        pytest.param(b"// caf\xe9\n", "js_syntax", "UTF-8", id="is not UTF-8"),
    ],
)
async def test_javascript_whose_top_level_fails_is_refused(host: TestHost, source: bytes, code: str, says: str) -> None:
    assert says in refused(await upload(host, source, JS), 400, f"module/{code}")["message"]


async def test_a_module_beyond_the_limit_is_refused_with_the_limit(host: TestHost) -> None:
    error = refused(await upload(host, b"//" + b"x" * 5_000_000, JS), 413, "module/too_large")
    assert error["metadata"] == {"limit": "module", "used": 5_000_002, "allowed": 4_194_304}


async def test_a_type_that_is_neither_javascript_nor_wasm_is_refused(host: TestHost) -> None:
    refused(await upload(host, GOOD, "text/html"), 415, "module/unsupported_type")


async def test_a_definition_of_a_module_that_is_not_here_is_refused(host: TestHost) -> None:
    answer = await host.http.put("/definitions/some", json={"module": "sha256:" + "0" * 64})
    refused(answer, 404, "module/not_found")


def large(_size: int = 6_000_000) -> bytes:
    return b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * _size


@pytest.mark.parametrize(
    ("handler", "status", "name"),
    [
        pytest.param(saying(answer("404 Not Found", b"<html>gone</html>")), 502, "module/fetch_failed", id="404"),
        pytest.param(saying(answer("500 Oh No", b"Traceback")), 502, "module/fetch_failed", id="500"),
        pytest.param(saying(b"SSH-2.0-nothing\r\n"), 502, "module/fetch_failed", id="not HTTP"),
        pytest.param(saying(answer("200 OK", GOOD + b"// changed")), 400, "module/hash_mismatch", id="other bytes"),
        pytest.param(saying(large()), 413, "module/too_large", id="too large without saying so"),
        pytest.param(saying(answer("200 OK", b"x" * 6_000_000)), 413, "module/too_large", id="too large and says so"),
        pytest.param(silent, 504, "module/fetch_timeout", id="slow"),
    ],
)
async def test_a_url_that_does_not_deliver_is_told_as_such(
    host: TestHost, handler: Handler, status: int, name: str
) -> None:
    sha = hashlib.sha256(GOOD).hexdigest()
    with anyio.fail_after(20):
        async with serving(handler) as web:
            wanted = {"url": web.url("/actor.js?token=secret"), "sha256": sha}
            error = refused(await host.http.post("/modules", json=wanted), status, name)
            assert "secret" not in error["message"]
            if handler is not silent:  # once is enough: it takes 3 s
                refused(await host.http.put("/definitions/from-url", json=wanted), status, name)
    assert (await host.http.get("/definitions/from-url")).status_code == 404


async def test_nothing_of_what_was_refused_is_kept(host: TestHost) -> None:
    before = (await host.http.get("/modules")).json()
    await upload(host, GOOD + b"throw 1;", JS)
    await upload(host, ECHO[:-9], WASM)
    assert (await host.http.get("/modules")).json() == before
