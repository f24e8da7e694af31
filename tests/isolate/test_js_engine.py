"""The real JavaScript engine as an image: what this package promises for kind js."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import isolate_sdk
from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.guest_thread import run_on_guest_thread
from host.isolate.image import build_js_image
from host.isolate.isolate import Isolate
from host.isolate.turn_host import NullTurnHost
from host.model.limits import Limits
from tests.isolate.conftest import fault_of

ACTOR = b'import { actor } from "isolate"; export default actor({ actions: { echo: (c, x) => x } });'


@pytest.fixture(scope="module")
def js(one_engine: Engine) -> Code:
    # Looked up by hand: a type checker takes the folder of the same name for a module.
    prelude: Callable[[], str] = vars(isolate_sdk)["prelude"]
    image = build_js_image(one_engine, isolate_sdk.engine_wasm(), prelude().encode())
    code = one_engine.compile(image)
    code.check_abi("js")
    return code


@pytest.fixture
def host() -> NullTurnHost:
    return NullTurnHost(b"seed")


@pytest.fixture
def isolate(js: Code, host: NullTurnHost) -> Iterator[Isolate]:
    made = Isolate(js, Limits(turn_deadline=50, memory=16 * 1024 * 1024), host)
    yield made
    made.close()


def load(isolate: Isolate, source: bytes) -> dict[str, object]:
    answer: dict[str, object] = json.loads(run_on_guest_thread(lambda: isolate.load(source)))
    return answer


def call(isolate: Isolate, action: str) -> Any:
    """The header of the reply to a turn with one action."""
    event = {"type": "action", "id": 3, "name": action, "args": ["hi"]}
    header = json.dumps({"turn": 1, "now": 5, "events": [event]}).encode()
    reply = run_on_guest_thread(lambda: isolate.deliver(struct.pack("<I", len(header)) + header))
    (length,) = struct.unpack_from("<I", reply)
    return json.loads(reply[4 : 4 + length])


def test_a_module_is_loaded_and_answers_a_turn(isolate: Isolate) -> None:
    assert "ok" in load(isolate, ACTOR)
    isolate.reseed(7)
    assert call(isolate, "echo")["settled"][0]["event"] == 3


def test_rule_9_a_loop_is_a_deadline_fault_and_its_stack_is_logged(isolate: Isolate, host: NullTurnHost) -> None:
    load(isolate, ACTOR.replace(b"x }", b"x, spin: () => {\n for (;;) {} } }"))
    fault = fault_of(lambda: call(isolate, "spin"))
    assert fault.code == "deadline"
    assert "proc_exit(101)" in (fault.detail or "")
    assert isolate.dead
    assert "at spin (actor.js:" in "".join(text for level, text in host.logs if level == "error")


def test_a_loop_at_the_top_level_is_a_deadline_fault(isolate: Isolate) -> None:
    assert fault_of(lambda: load(isolate, b"for (;;);")).code == "deadline"


def test_growing_without_bound_is_a_memory_fault(isolate: Isolate) -> None:
    fault = fault_of(lambda: load(isolate, b"const a = []; for (;;) a.push(new Uint8Array(1 << 20));"))
    assert fault.code == "memory"


def test_recursion_and_syntax_errors_are_answers_and_no_faults(isolate: Isolate) -> None:
    assert "error" in load(isolate, b"let x = ;")
    assert "error" in load(isolate, b"function f() { f(); } f();")
    assert not isolate.dead
