"""What a module may look like, and how one that does not load is described."""

from __future__ import annotations

import pytest
import wasmtime

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.guest import Guest

ACTOR = 'import { actor } from "rivetkit";\n'


def test_a_module_tells_its_actions_and_hooks(bare_guest: NewGuest) -> None:
    answer = bare_guest().load(
        ACTOR
        + """export default actor({
          actions: { a() {}, async b() {} }, onRequest() {}, onWebSocket() {}, onAlarm() {},
          options: { sleepTimeout: 5000.7, actionTimeout: Infinity, canHibernateWebSocket: false } });"""
    )
    assert answer["ok"] == {
        "actions": ["a", "b"],
        "request": True,
        "socket": True,
        "connect": True,
        "auth": False,
        "guarded_events": [],
        "hibernate": False,
        "sleep_timeout": 5000,
        "action_timeout": 2147483647,
        "names": [],
    }


def test_both_specifiers_export_the_same_sdk(bare_guest: NewGuest) -> None:
    answer = bare_guest().load(
        """import * as a from "rivetkit"; import * as b from "isolate";
        export default a.actor({ actions: Object.fromEntries(Object.keys(a).map((name) => [name, () => a === b])) });"""
    )
    assert sorted(answer["ok"]["actions"]) == [
        "ActorError", "RivetError", "UserError", "actor", "event", "queue", "setup",
    ]  # fmt: skip


def test_a_syntax_error_says_where(bare_guest: NewGuest) -> None:
    error = bare_guest().load("const a = 1;\nlet b = ;\n")["error"]
    assert (error["code"], error["line"], error["column"]) == ("js_syntax", 2, 9)
    assert "SyntaxError" in error["message"]


def test_a_throw_at_the_top_level_says_what_and_where(bare_guest: NewGuest) -> None:
    error = bare_guest().load("function f() { throw new RangeError('far') }\nf();")["error"]
    assert (error["code"], error["message"], error["line"]) == ("js_threw", "RangeError: far", 1)
    assert "at f (actor.js:1" in error["stack"]


@pytest.mark.parametrize(
    "source", ["throw 1", "throw null", "throw undefined", "throw Symbol('s')", "throw {get message() { throw 1 }}"]
)
def test_whatever_is_thrown_is_described(bare_guest: NewGuest, source: str) -> None:
    assert bare_guest().load(source)["error"]["code"] == "js_threw"


def test_an_unknown_specifier_is_named(bare_guest: NewGuest) -> None:
    error = bare_guest().load('import fs from "node:fs"; export default {};')["error"]
    assert error["code"] == "js_threw"
    assert "node:fs" in error["message"]


def test_an_unknown_export_of_the_sdk_is_named(bare_guest: NewGuest) -> None:
    error = bare_guest().load('import { workflow } from "rivetkit"; export default {};')["error"]
    assert error["code"] == "js_threw"
    assert "workflow" in error["message"]


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("export const x = 1;", "no default export"),
        ("export default 7;", "must be actor"),
        ("export default { hello: 1 };", "no hook"),
        (ACTOR + "export default actor({ onWake: 1 });", "onWake must be a function"),
        (ACTOR + "export default actor({ actions: { go: 1 } });", "the action go must be"),
        (ACTOR + "export default actor({ state: {}, createState() {} });", "not both"),
        (ACTOR + "export default actor({ options: { sleepTimeout: 'soon' } });", "options.sleepTimeout"),
        ('import { actor, setup } from "rivetkit"; export default setup({ use: {} });', "names no actor"),
        ('import { setup } from "rivetkit"; export default setup({ use: { a: {} } });', "must be actor"),
        (ACTOR + "export default actor({ queues: { jobs: {} } });", "queues are not available yet"),
        (ACTOR + "export default actor({ db: {} });", "db is not available yet"),
        (ACTOR + "export default actor({ run: 1 });", "run must be a function"),
        (ACTOR + "export default actor({ acitons: {} });", "actor({…}) has no field acitons: is it actions?"),
        (ACTOR + "export default actor({ onWebsocket() {} });", "no field onWebsocket: is it onWebSocket?"),
        (ACTOR + "export default actor({ methods: {} });", "actor({…}) has no field methods"),
        (
            ACTOR + "export default actor({ options: { sleepTimout: 1 } });",
            "options has no field sleepTimout: is it sleepTimeout?",
        ),
        (ACTOR + "export default actor({ ['x'.repeat(100_000)]: 1 });", "actor({…}) has no field xxx"),
        (ACTOR + "export default actor({ connState: {}, createConnState() {} });", "not both"),
        (ACTOR + "export default actor({ events: { a: 1 } });", "the event a"),
        (ACTOR + "export default actor({ events: { a: { canSubscribe: 1 } } });", "canSubscribe"),
        (ACTOR + "export default actor({ connParamsSchema: {} });", "connParamsSchema"),
        (
            ACTOR + "export default actor({ actions: { a() {} }, actionInputSchemas: { a: {} } });",
            "schema of the action",
        ),
        (ACTOR + "export default actor({ actions: { 'a.b'() {}, a: { b() {} } } });", "two actions"),
        (ACTOR + "const deep = {}; deep.deep = deep; export default actor({ actions: deep });", "must be a function"),
    ],
)
def test_a_module_without_an_actor_says_what_is_wrong(bare_guest: NewGuest, source: str, part: str) -> None:
    error = bare_guest().load(source)["error"]
    assert error["code"] == "no_actor"
    assert part in error["message"]


def test_a_plain_object_or_class_with_hooks_is_an_actor(bare_guest: NewGuest) -> None:
    assert bare_guest().load("export default { onMessage() {} };")["ok"]["socket"] is True
    assert bare_guest().load("export default class { onRequest() {} }")["ok"]["request"] is True


@pytest.mark.parametrize(
    "call", ["setTimeout(() => {}, 1)", "crypto.randomUUID()", "crypto.getRandomValues(new Uint8Array(1))"]
)
def test_outside_of_a_turn_the_host_is_out_of_reach(bare_guest: NewGuest, call: str) -> None:
    guest = bare_guest()
    answer = guest.load(f"let code; try {{ {call} }} catch (e) {{ code = e.code }} throw new Error(code)")
    assert answer["error"]["message"] == "Error: module/not_in_turn"
    assert guest.host.calls == []


def test_top_level_code_sees_time_zero_and_logs_to_standard_error(bare_guest: NewGuest) -> None:
    guest = bare_guest()
    guest.load("console.log(Date.now(), new Date().toISOString(), performance.now()); export default { actions: {} }")
    assert guest.host.stderr == "info: 0 1970-01-01T00:00:00.000Z 0\n"
    assert guest.host.calls == []


def test_top_level_await_works_as_long_as_something_answers(bare_guest: NewGuest) -> None:
    assert "ok" in bare_guest().load("await null; export default { actions: {} };")
    error = bare_guest().load("await new Promise(() => {}); export default {};")["error"]
    assert error["code"] == "js_threw"
    assert "never comes" in error["message"]


def test_tenant_code_cannot_see_how_the_host_gets_in(bare_guest: NewGuest) -> None:
    guest = bare_guest()
    guest.load(
        """const names = Reflect.ownKeys(globalThis).map(String);
        console.log(JSON.stringify(names.filter((name) => /native|enter|finish|prelude|host|bind/i.test(name))),
          (function () { return this === undefined || this === globalThis; })());
        export default { actions: {} }"""
    )
    assert guest.host.stderr.startswith("info: [] ")


def test_an_isolate_can_be_made_from_the_image_of_another(
    new_guest: NewGuest, wasm_engine: wasmtime.Engine, js_module: wasmtime.Module
) -> None:
    image = new_guest("let n = 0; export default { actions: { next: () => ++n } }", start=False).image()
    for _ in range(2):
        guest = Guest(wasm_engine, js_module).restore(image)
        guest.start()
        assert [guest.action("next").result for _ in range(2)] == [1, 2]


def test_the_stack_pointer_is_the_only_global_that_changes(js_module: wasmtime.Module) -> None:
    found = [e.name for e in js_module.exports if isinstance(e.type, wasmtime.GlobalType) and e.type.mutable]
    assert found == ["__stack_pointer"]


def test_math_random_follows_the_seed(new_guest: NewGuest) -> None:
    source = "export default { actions: { r: () => Math.random() } }"
    draws = []
    for seed in (1, 1, 2):
        guest = new_guest(source, start=False)
        guest.call("reseed", seed)
        guest.start()
        draws.append(guest.action("r").result)
    assert draws[0] == draws[1] != draws[2]
