"""Admission as a tenant meets it: an upload over HTTP, the report of it, refusals with their numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.end_to_end.host import TestHost, start_host
from tests.modules.admission.build import RICH, with_bodies, with_code
from tests.modules.guests import wat, with_manifest

pytestmark = pytest.mark.anyio


@pytest.fixture
async def host(new_data_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_data_dir()) as running:
        yield running


async def upload(host: TestHost, data: bytes, kind: str = "application/wasm") -> httpx.Response:
    return await host.http.post("/modules", content=data, headers={"content-type": kind})


async def test_a_module_has_its_report_for_everybody_who_may_see_it(host: TestHost) -> None:
    with anyio.fail_after(20):
        made = (await upload(host, RICH)).json()
        shown: dict[str, Any] = (await host.http.get(f"/modules/{made['digest']}")).json()
        report = shown["report"]
        assert (report["digest"], report["size"]) == (made["digest"], len(RICH))
        assert report["imports"][0]["type"] == "(i32, i32, i32, i32) -> (i32)"
        assert "simd" in report["proposals"]
        source = b"export default {}\n"
        refused = (await upload(host, source, "text/javascript")).json()
        assert refused["code"] == "no_actor"


@pytest.mark.parametrize(
    ("module", "code", "metadata"),
    [
        (with_bodies(*[b"\0\x41\0\x0b"] * 100_000), "too_large", {"limit": "module_functions", "allowed": 10_000}),
        (with_code(b"\x03\x40\x0b" * 100_000 + b"\x41\0"), "too_large", {"limit": "module_body", "allowed": 131_072}),
        (with_code(b"\xfe\x03\0"), "malformed", {"proposal": "threads"}),
    ],
    ids=["functions", "body", "proposal"],
)
async def test_what_breaks_a_rule_is_told_the_rule(
    host: TestHost, module: bytes, code: str, metadata: dict[str, Any]
) -> None:
    with anyio.fail_after(20):
        answer = await upload(host, module)
        told = answer.json()
        assert (told["group"], told["code"]) == ("module", code)
        assert answer.status_code == (413 if code == "too_large" else 400)
        assert told["metadata"].items() >= metadata.items()
        assert (await host.http.get("/modules")).json() == {"modules": []}


async def test_a_vector_where_the_abi_has_a_number_is_refused_before_the_engine_is_asked_for_its_type(
    host: TestHost,
) -> None:
    """The library aborts the process when it is asked for the name of a vector type."""
    module = with_manifest(
        wat("""(module (memory (export "memory") 1) (func (export "isolate_alloc") (param v128))
        (func (export "isolate_deliver") (param i32 i32) (result i64) i64.const 0))""")
    )
    with anyio.fail_after(20):
        told = (await upload(host, module)).json()
        assert told["code"] == "bad_export"
        assert "found a function (v128) -> ()" in told["message"]
