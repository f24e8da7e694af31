"""A guest in C on `isolate.h`, compiled here with zig, over the `json` codec."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
import wasmtime

import isolate_sdk
from host.bridge import envelopes as env
from tests.isolate_sdk.fake_host import FakeHost
from tests.isolate_sdk.frames import join_frame, split_frame
from tests.isolate_sdk.guest import Guest, Settled

SOURCE = Path(__file__).parent / "counter.c"
RELAY = SOURCE.with_name("relay.c")


class JsonHost(FakeHost):
    """Answers in the `json` codec: the same header, every buffer base64."""

    def answer(self, frame: bytes) -> int | bytes:
        answer = super().answer(join_frame(msgspec.Raw(frame)))
        if isinstance(answer, int):
            return answer
        header, buffers = split_frame(answer)
        return msgspec.json.encode(inline(msgspec.json.decode(header), buffers))


def inline(value: Any, buffers: list[bytes]) -> Any:
    if isinstance(value, dict):
        if "$bin" in value:
            return base64.b64encode(buffers[value["$bin"]]).decode()
        return {key: inline(item, buffers) for key, item in value.items()}
    return [inline(item, buffers) for item in value] if isinstance(value, list) else value


class JsonGuest(Guest):
    """Turns in the `json` codec; a guest without libc exports no `_initialize`."""

    def call(self, name: str, *args: int) -> Any:
        return None if name == "_initialize" else super().call(name, *args)

    def turn_of(self, *events: dict[str, Any]) -> list[Settled]:
        for event in events:
            event["id"] = self.next_event
            self.next_event += 1
        out = self._packed("isolate_deliver", msgspec.json.encode({"turn": 1, "now": 5, "events": list(events)}))
        reply = msgspec.json.decode(out, type=env.TurnReply)
        self.pending = reply.pending
        return [msgspec.json.decode(msgspec.json.encode(one), type=Settled) for one in reply.settled]

    def act(self, name: str, *args: Any) -> Settled:
        (settled,) = self.turn_of({"type": "action", "name": name, "args": list(args)})
        return settled


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("guest") / "counter.wasm"
    return isolate_sdk.compile_guest(SOURCE, output).read_bytes()


@pytest.fixture
def guest(wasm_engine: wasmtime.Engine, counter: bytes) -> JsonGuest:
    return JsonGuest(wasm_engine, wasmtime.Module(wasm_engine, counter), JsonHost())


def test_it_needs_the_host_only_and_carries_its_manifest(wasm_engine: wasmtime.Engine, counter: bytes) -> None:
    module = wasmtime.Module(wasm_engine, counter)
    assert {i.module for i in module.imports} == {"isolate"}
    assert b"\x10isolate.manifest" + b'{"abi":1,"codec":"json"' in counter


def test_it_starts_and_counts_in_kv(guest: JsonGuest) -> None:
    (started,) = guest.turn_of({"type": "start", "reason": "create", "key": [], "name": "c"})
    assert started.result["actions"] == ["add", "shout", "size"]
    assert [guest.act("add", n).result for n in (1, 41, -50)] == [1, 42, -8]
    assert guest.host.kv == {b"count": b"-8"}


@pytest.mark.parametrize("text", ["", "plain", 'quote " back \\ slash / tab \t', "ümläut €", "😀", "\u0001\u001f\x7f"])
def test_text_survives_json_both_ways(guest: JsonGuest, text: str) -> None:
    assert guest.act("shout", text).result == text
    assert guest.host.logs == [("info", text)]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 5000])
def test_bytes_survive_base64_and_replies_that_need_more_room(guest: JsonGuest, size: int) -> None:
    guest.host.kv[b"k"] = bytes(i % 256 for i in range(size))
    assert guest.act("size", "k").result == size
    assert guest.act("size", "missing").result == -1
    data = base64.b64encode(guest.host.kv[b"k"]).decode()
    guest.turn_of({"type": "socket_message", "conn": "c1", "index": 1, "data": data})
    assert guest.host.sent == [("c1", guest.host.kv[b"k"])]


def test_several_events_settle_in_one_turn_and_completions_do_not(guest: JsonGuest) -> None:
    settled = guest.turn_of(
        {"type": "completion", "call": 1, "result": None},
        {"type": "socket_message", "conn": "c1", "index": 1, "text": "a"},
        {"type": "action", "name": "nope", "args": []},
    )
    assert [(one.event, one.error and one.error["code"]) for one in settled] == [(2, None), (3, "unknown")]
    assert guest.host.sent == [("c1", "a")]


def test_a_refused_call_is_seen_as_such(guest: JsonGuest) -> None:
    guest.host.refuse["kv_put"] = -2
    assert guest.act("add", 1).error["code"] == "kv"


def test_it_asks_for_its_end(guest: JsonGuest) -> None:
    assert guest.act("end").result is True
    assert guest.host.calls[-1] == "destroy"
    guest.host.refuse["destroy"] = -2
    assert guest.act("end").result is False


@pytest.fixture
def relay(wasm_engine: wasmtime.Engine, tmp_path: Path) -> JsonGuest:
    module = isolate_sdk.compile_guest(RELAY, tmp_path / "relay.wasm").read_bytes()
    return JsonGuest(wasm_engine, wasmtime.Module(wasm_engine, module), JsonHost())


def begun(guest: JsonGuest, name: str, *args: Any) -> tuple[int, Any, bytes]:
    assert guest.turn_of({"type": "action", "name": name, "args": list(args)}) == []
    return guest.host.deferred[-1]


def test_an_action_that_waits_for_a_call_settles_when_it_completes(relay: JsonGuest) -> None:
    call, sent, body = begun(relay, "get", "https://a.example/?x=1", "the body")
    assert isinstance(sent, env.Fetch)
    assert (sent.url, sent.method, body, relay.pending) == ("https://a.example/?x=1", "POST", b"the body", 1)
    other, asked, _ = begun(relay, "say", "lobby", 2)
    assert isinstance(asked, env.ActorCall)
    assert (asked.name, asked.key, asked.method, asked.action) == ("room", ["lobby"], "getOrCreate", "say")
    assert relay.pending == 2
    # In whatever order they complete.
    (settled,) = relay.turn_of({"type": "completion", "call": other, "result": {"heard": [1]}})
    assert (settled.event, settled.result, relay.pending) == (2, {"heard": [1]}, 1)
    data = base64.b64encode(b"hello").decode()
    (settled,) = relay.turn_of({"type": "completion", "call": call, "result": {"status": 200}, "body": data})
    assert (settled.event, settled.result, relay.pending) == (1, "hello", 0)


def test_an_error_of_a_call_becomes_that_of_its_action_beside_what_settles_at_once(relay: JsonGuest) -> None:
    call, _, _ = begun(relay, "say", "lobby")
    relay.host.refuse["actor_call"] = -2
    error = {"group": "user", "code": "full", "message": "no room"}
    settled = relay.turn_of(
        {"type": "action", "name": "say", "args": ["x"]},
        {"type": "completion", "call": call, "error": error},
    )
    assert [(one.event, one.error["code"]) for one in settled] == [(2, "refused"), (1, "full")]
    assert relay.pending == 0
