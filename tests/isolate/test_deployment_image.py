"""The image of a module: actors of it begin where its top level ended, and nothing of one is in another."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.guest_thread import run_on_guest_thread
from host.isolate.image import build_js_image
from host.isolate.isolate import Isolate
from host.isolate.loading import load_module, seed_for
from host.isolate.module_image import ModuleImage, build_module_image
from host.isolate.preinit import exported_globals
from host.isolate.turn_host import NullTurnHost
from host.isolate.wasmbin import sections
from host.model.errors import GuestFault, TenantError
from host.model.limits import Limits
from isolate_sdk import engine_wasm
from isolate_sdk.js.bundle import prelude
from tests.isolate.conftest import fault_of
from tests.isolate.guests import wasm

PAGE = 4_096
CODE = 10

ACTOR = b"""
import { actor } from "isolate";
let count = 0;
const born = [Date.now(), Math.random()];
const names = ["b", "a"].sort();
export default actor({
  actions: {
    count: () => ++count,
    born: () => born,
    now: () => [Date.now(), Math.random()],
    names: () => names,
    fail: () => { throw new Error("later"); },
    grow: () => { const a = []; for (;;) a.push(new Uint8Array(1 << 20)); },
    spin: () => { for (;;); },
  },
});
"""


@pytest.fixture(scope="module")
def engine_image(one_engine: Engine) -> bytes:
    return build_js_image(one_engine, engine_wasm(), prelude().encode())


@pytest.fixture(scope="module")
def engine_code(one_engine: Engine, engine_image: bytes) -> Code:
    code = one_engine.compile(engine_image)
    code.check_abi("js")
    return code


@pytest.fixture(scope="module")
def image(engine_image: bytes, engine_code: Code) -> ModuleImage:
    return build(engine_code, engine_image, ACTOR)


@pytest.fixture(scope="module")
def image_code(one_engine: Engine, image: ModuleImage) -> Code:
    code = one_engine.compile(image.wasm)
    code.check_abi("js")
    return code


def build(code: Code, engine_image: bytes, source: bytes, **limits: int) -> ModuleImage:
    digest = sha256(source).digest()
    return run_on_guest_thread(lambda: build_module_image(code, engine_image, source, digest, Limits(**limits)))


@pytest.fixture
def from_image(image_code: Code) -> Iterator[Isolate]:
    made = Isolate(image_code, Limits(turn_deadline=100, memory=16 * 1024 * 1024), NullTurnHost(b"own"))
    yield made
    made.close()


@pytest.fixture
def loaded(engine_code: Code) -> Iterator[Isolate]:
    made = Isolate(engine_code, Limits(turn_deadline=100, memory=16 * 1024 * 1024), NullTurnHost(b"own"))
    run_on_guest_thread(lambda: load_module(made, ACTOR, sha256(ACTOR).digest()))
    yield made
    made.close()


def call(isolate: Isolate, action: str) -> Any:
    """What the only event of a turn settled with."""
    event = {"type": "action", "id": 3, "name": action, "args": []}
    header = json.dumps({"turn": 1, "now": 5, "events": [event]}).encode()
    reply = run_on_guest_thread(lambda: isolate.deliver(struct.pack("<I", len(header)) + header))
    (length,) = struct.unpack_from("<I", reply)
    (settled,) = json.loads(reply[4 : 4 + length])["settled"]
    return settled["result"] if "result" in settled else settled["error"]


def test_an_actor_of_an_image_answers_as_one_that_loaded(from_image: Isolate, loaded: Isolate) -> None:
    for isolate in (from_image, loaded):
        isolate.reseed(7)
    for action in ("count", "count", "born", "now", "names", "fail"):
        assert call(from_image, action) == call(loaded, action)
    assert call(from_image, "born")[0] == 0
    assert "actor.js:" in call(from_image, "fail")["metadata"]["stack"]


def test_the_answer_to_the_load_is_kept(image: ModuleImage, engine_code: Code) -> None:
    isolate = Isolate(engine_code, Limits(), NullTurnHost(b""))
    try:
        assert run_on_guest_thread(lambda: isolate.load(ACTOR)) == image.loaded
    finally:
        isolate.close()


def test_two_actors_of_an_image_share_nothing(image_code: Code) -> None:
    first, second = (Isolate(image_code, Limits(), NullTurnHost(b"")) for _ in range(2))
    try:
        first.reseed(1)
        second.reseed(2)
        assert [call(first, "count") for _ in range(3)] == [1, 2, 3]
        assert call(second, "count") == 1
        assert call(first, "now") != call(second, "now")
    finally:
        first.close()
        second.close()


def test_an_image_is_a_function_of_engine_and_source(
    dense_engine: Engine, engine_image: bytes, image: ModuleImage, engine_code: Code
) -> None:
    code = dense_engine.compile(engine_image)
    code.check_abi("js")
    assert build(code, engine_image, ACTOR).wasm == image.wasm
    assert build(engine_code, engine_image, ACTOR + b"//").wasm != image.wasm


def test_the_instructions_of_an_image_are_the_engines(engine_image: bytes, image: ModuleImage) -> None:
    def code_of(module: bytes) -> list[bytes]:
        return [bytes(section.body) for section in sections(module) if section.number == CODE]

    assert code_of(image.wasm) == code_of(engine_image)


def test_randomness_at_the_top_level_is_the_digests(
    engine_code: Code, engine_image: bytes, from_image: Isolate
) -> None:
    isolate = Isolate(engine_code, Limits(), NullTurnHost(b"another"))
    try:
        run_on_guest_thread(lambda: load_module(isolate, ACTOR, sha256(ACTOR).digest()))
        assert call(isolate, "born") == call(from_image, "born")
    finally:
        isolate.close()
    assert seed_for(b"\xff" * 8) < 1 << 63


def test_limits_hold_in_an_actor_of_an_image(image_code: Code, from_image: Isolate) -> None:
    assert fault_of(lambda: call(from_image, "grow")).code == "memory"
    spinning = Isolate(image_code, Limits(turn_deadline=50), NullTurnHost(b""))
    try:
        assert fault_of(lambda: call(spinning, "spin")).code == "deadline"
    finally:
        spinning.close()
    with pytest.raises(GuestFault) as caught:
        Isolate(image_code, Limits(memory=65_536), NullTurnHost(b""))
    assert caught.value.code == "memory"


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        (b"let x = ;", "js_syntax", ""),
        (b"throw new Error('no')", "js_threw", "no"),
        (b"throw { get message() { for (;;); } }", "deadline", ""),
        (b"function f() { f(); } f();", "js_threw", "stack"),
        (b"await new Promise(() => {});", "js_threw", "awaits"),
        (b"setTimeout(() => {}, 1);", "js_threw", "handles an event"),
        (b"crypto.getRandomValues(new Uint8Array(1));", "js_threw", "handles an event"),
        (b"export default 1;", "no_actor", ""),
        (b"for (;;);", "deadline", ""),
        (b"for (;;) await 0;", "deadline", ""),
        (b"const a = []; for (;;) a.push(new Uint8Array(1 << 20));", "memory", ""),
        (b"'x'.repeat(1 << 28) + 'y'", "memory", ""),
    ],
)
def test_a_top_level_that_does_not_end_well_gives_no_image(
    engine_code: Code, engine_image: bytes, source: bytes, code: str, says: str
) -> None:
    with pytest.raises((TenantError, GuestFault)) as caught:
        build(engine_code, engine_image, source, turn_deadline=100, memory=16 * 1024 * 1024)
    assert caught.value.code == code
    assert says in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        b"JSON.parse = JSON.stringify = () => { throw 1 };",
        b"Object.prototype.type = 'stop'; Object.prototype.error = {}; Array.prototype.push = null;",
        b"globalThis.Promise = function () {}; Promise.prototype = null; Map.prototype.get = () => 0;",
        b"delete globalThis.Math; Function.prototype.call = Function.prototype.apply = null;",
    ],
)
def test_a_top_level_that_changes_the_language_changes_its_own_actors_only(
    one_engine: Engine, engine_code: Code, engine_image: bytes, image_code: Code, change: bytes
) -> None:
    source = change + b"import { actor } from 'isolate'; export default actor({ actions: { count: () => 40 } });"
    code = one_engine.compile(build(engine_code, engine_image, source).wasm)
    code.check_abi("js")
    changed, other, plain = (Isolate(one, Limits(), NullTurnHost(b"")) for one in (code, image_code, engine_code))
    try:
        assert call(changed, "count") == 40
        assert call(other, "count") == 1
        run_on_guest_thread(lambda: load_module(plain, ACTOR, bytes(32)))
        assert call(plain, "count") == 1
    finally:
        for isolate in (changed, other, plain):
            isolate.close()


def test_garbage_of_the_top_level_is_not_in_the_image(engine_code: Code, engine_image: bytes) -> None:
    tail = b"import { actor } from 'isolate'; export default actor({ actions: {} });"
    rings = b"for (let i = 0; i < 3000; i++) { const a = { text: 'garbage' + i + 'garbage' }; a.self = a; }"
    small = build(engine_code, engine_image, tail)
    large = build(engine_code, engine_image, rings + tail)
    assert large.wasm.count(b"garbage1") < 2_000
    assert len(large.wasm) - len(small.wasm) < 1024 * 1024


def test_an_actor_of_an_image_keeps_most_pages_shared(image_code: Code) -> None:
    isolate = Isolate(image_code, Limits(), NullTurnHost(b""))
    try:
        before = isolate.memory_image()
        isolate.reseed(9)
        call(isolate, "count")
        after = isolate.memory_image()
    finally:
        isolate.close()
    changed = sum(before[at : at + PAGE] != after[at : at + PAGE] for at in range(0, len(after), PAGE))
    assert changed < 48


def test_a_global_that_cannot_be_read_is_refused() -> None:
    assert exported_globals(wasm('(module (global (export "sp") (mut i32) (i32.const 1)) (memory 1))')) == {0: "sp"}
    assert exported_globals(wasm("(module (global i32 (i32.const 1)) (memory 1))")) == {}
    with pytest.raises(TenantError) as caught:
        exported_globals(wasm("(module (global (mut i32) (i32.const 1)) (memory 1))"))
    assert "[0]" in caught.value.message


def test_the_top_levels_time_is_told(engine_code: Code, engine_image: bytes) -> None:
    slow = b"for (let i = 0; i < 3e6; i++); import { actor } from 'isolate'; export default actor({ actions: {} });"
    assert build(engine_code, engine_image, slow).load_ms > 0
