"""Modules with several actors: which names they define, and which one a start chooses."""

from __future__ import annotations

import pytest

from tests.isolate_sdk.conftest import NewGuest

ROOMS = """
import { actor, setup } from "rivetkit";
const room = actor({ state: { kind: "room" }, actions: { kind: (c) => c.state.kind } });
const lobby = actor({ state: { kind: "lobby" }, onRequest: () => new Response("hi"),
  actions: { kind: (c) => c.state.kind } });
"""

WAYS = {
    "default": ROOMS + "export default setup({ use: { room, lobby } });",
    "registry": ROOMS + "export const registry = setup({ use: { room, lobby } }); registry.start();",
    "served": ROOMS + "export default setup({ use: { room, lobby } }).serve();",
    "exports": ROOMS + "export { room, lobby };",
}


@pytest.mark.parametrize("way", WAYS)
def test_the_name_of_a_start_chooses_among_several_actors(new_guest: NewGuest, way: str) -> None:
    for name in ("room", "lobby"):
        guest = new_guest(WAYS[way], start=False)
        settled = guest.start(name=name)
        assert settled.result["request"] is (name == "lobby")
        assert guest.action("kind").result == name


@pytest.mark.parametrize("way", WAYS)
def test_a_module_tells_the_names_of_its_actors(bare_guest: NewGuest, way: str) -> None:
    assert sorted(bare_guest().load(WAYS[way])["ok"]["names"]) == ["lobby", "room"]


def test_a_name_that_the_module_does_not_have_does_not_start(new_guest: NewGuest) -> None:
    guest = new_guest(WAYS["default"], start=False)
    assert 'no actor "attic"' in guest.start(name="attic").error["message"]


def test_one_actor_serves_any_name(new_guest: NewGuest) -> None:
    source = 'import { actor, setup } from "rivetkit"; const a = actor({ actions: { x: () => 1 } });'
    source += "export default setup({ use: { a } });"
    guest = new_guest(source, start=False)
    assert guest.start(name="other").error is None
    assert guest.action("x").result == 1


def test_there_is_a_bound_on_the_names_of_a_module(bare_guest: NewGuest) -> None:
    source = """import { actor, setup } from "rivetkit"; const use = {};
    for (let i = 0; i < COUNT; i++) use["a" + i] = actor({}); export default setup({ use });"""
    assert len(bare_guest().load(source.replace("COUNT", "128"))["ok"]["names"]) == 128
    assert "more than 128 actors" in bare_guest().load(source.replace("COUNT", "129"))["error"]["message"]


@pytest.mark.parametrize("spoil", ["", "RegExp.prototype.exec = () => []; RegExp.prototype.test = () => true;"])
@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "a/b", "@", "[", "`", "{", "\u0131"])
def test_a_name_that_no_definition_can_have_is_refused(bare_guest: NewGuest, name: str, spoil: str) -> None:
    source = f'import {{ actor, setup }} from "rivetkit"; export default setup({{ use: {{ "{name}": actor({{}}) }} }});'
    error = bare_guest().load(source + spoil)["error"]
    assert (error["code"], "is no name of an actor" in error["message"]) == ("no_actor", True)


def test_two_registries_without_a_default_are_refused(bare_guest: NewGuest) -> None:
    source = ROOMS + "export const a = setup({ use: { room } }), b = setup({ use: { lobby } });"
    assert "several setup" in bare_guest().load(source)["error"]["message"]
