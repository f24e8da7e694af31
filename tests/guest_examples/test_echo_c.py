"""The example `echo_c`, compiled with zig, on a real host."""

from __future__ import annotations

import anyio
import pytest

import isolate_sdk
from tests.end_to_end.host import TestHost
from tests.guest_examples.conftest import EXAMPLES

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def echo_c(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("echo_c") / "echo.wasm"
    return isolate_sdk.compile_guest(EXAMPLES / "echo_c" / "echo.c", output).read_bytes()


async def test_it_echoes_text_and_bytes_also_after_a_sleep(host: TestHost, echo_c: bytes) -> None:
    with anyio.fail_after(20):
        await host.deploy("echo_c", echo_c, "application/wasm")
        actor = await host.actor("echo_c")
        async with host.socket(actor) as socket:
            for data in ("hello", "", 'quotes " and ümläut 😀', b"\x00\xff" * 3_000, b""):
                await socket.send(data)
                assert await socket.recv() == data
            await host.http.post(f"/actors/{actor}/sleep")
            await host.until_asleep(actor)
            await socket.send("still here?")
            assert await socket.recv() == "still here?"
            assert [conn["msg_index"] for conn in (await host.snapshot(actor))["connections"]] == [6]


async def test_it_counts_in_kv_and_refuses_a_greeting_without_a_name(host: TestHost, echo_c: bytes) -> None:
    with anyio.fail_after(20):
        await host.deploy("echo_c", echo_c, "application/wasm")
        actor = await host.actor("echo_c")
        assert await host.call(actor, "greet", "ada") == "hello ada, you are number 1"
        await host.http.post(f"/actors/{actor}/sleep")
        await host.until_asleep(actor)
        assert await host.call(actor, "greet", "bob") == "hello bob, you are number 2"
        answer = await host.try_call(actor, "greet")
        assert (answer.status_code, answer.json()["group"], answer.json()["code"]) == (400, "user", "no_name")
        assert (await host.try_call(actor, "nope")).json()["code"] == "action_not_found"


async def test_the_host_knows_from_the_manifest_what_it_may_do(host: TestHost, echo_c: bytes) -> None:
    with anyio.fail_after(20):
        digest = await host.deploy("echo_c", echo_c, "application/wasm")
        module = (await host.http.get(f"/modules/{digest}")).json()
        assert module["kind"] == "wasm"
        assert module["manifest"]["capabilities"] == ["kv", "socket"]
