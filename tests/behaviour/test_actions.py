"""Actions, errors, state and the key-value store, the same on every kind of actor."""

from __future__ import annotations

import json

import pytest

from tests.behaviour.kinds import NAME, World, on_every_kind

pytestmark = pytest.mark.anyio


@on_every_kind("actions")
async def test_an_action_takes_arguments_and_answers(thing: World) -> None:
    actor = await thing.actor()
    assert [await thing.call(actor, "add", by) for by in (1, 41, -50)] == [1, 42, -8]
    assert await thing.call(actor, "notes") == "create -;wake"


@on_every_kind("actions")
async def test_text_comes_back_as_it_was(thing: World) -> None:
    actor = await thing.actor()
    for text in ("", "plain", 'a "quote" \\ and / a\ttab\n', "ümläut €", "😀", "\u0001"):
        await thing.call(actor, "put", "k", text)
        assert await thing.call(actor, "look_up", "k") == text


@on_every_kind("identity")
async def test_it_knows_who_it_is(thing: World) -> None:
    actor = await thing.actor("a key")
    assert await thing.call(actor, "who") == [actor, NAME, "a key"]


@on_every_kind("generation")
async def test_it_knows_how_often_its_key_was_created(thing: World) -> None:
    first = await thing.actor()
    assert await thing.call(first, "creations") == 1
    await thing.call(first, "add", 5)
    await thing.h.placement.destroy(first)
    second = await thing.actor()
    assert second != first
    assert await thing.call(second, "creations") == 2
    assert await thing.call(second, "get") == {"count": 0, "made": None}


@on_every_kind("errors")
async def test_an_error_for_the_user_arrives_whole_and_what_was_written_stays(thing: World) -> None:
    actor = await thing.actor()
    error = await thing.h.error(actor, "refuse")
    assert (error.name, error.message) == ("user/closed", "not today")
    assert error.metadata is not None
    assert json.loads(error.metadata) == {"until": 5}
    assert (await thing.call(actor, "get"))["count"] == 1


@on_every_kind("errors")
async def test_any_other_error_is_masked_and_what_was_written_stays(thing: World) -> None:
    actor = await thing.actor()
    error = await thing.h.error(actor, "break_down")
    assert (error.name, error.message) == ("internal/internal_error", "An internal error occurred")
    assert error.metadata is None
    assert (await thing.call(actor, "get"))["count"] == 1


@on_every_kind("errors")
async def test_an_action_that_there_is_not_is_not_found(thing: World) -> None:
    actor = await thing.actor()
    for name in ("nothing", "on_wake", "note", "state", "__class__", "constructor", ""):
        assert (await thing.h.error(actor, name)).name == "actor/action_not_found", name
    assert await thing.call(actor, "add", 1) == 1


@on_every_kind("state")
async def test_the_state_is_on_disk_with_the_turn_and_back_after_a_sleep(thing: World) -> None:
    actor = await thing.actor(input=b'"wood"')
    await thing.call(actor, "add", 3)
    assert await thing.h.document(actor) == {"count": 3, "made": "wood"}
    await thing.sleep(actor)
    assert await thing.call(actor, "get") == {"count": 3, "made": "wood"}
    assert await thing.call(actor, "add", 1) == 4


@on_every_kind("state")
async def test_what_could_not_be_committed_never_was(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "add", 3)
    await thing.call(actor, "put", "k", "old")
    thing.h.storage.unavailable()
    assert (await thing.h.error(actor, "add", 100)).name == "storage/unavailable"
    await thing.h.advance(2)
    assert await thing.call(actor, "get") == {"count": 3, "made": None}
    thing.h.storage.unavailable()
    await thing.h.error(actor, "put", "k", "new")
    await thing.h.advance(2)
    assert await thing.call(actor, "look_up", "k") == "old"


@on_every_kind("state")
async def test_an_action_that_changes_nothing_writes_nothing(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "add", 1)
    units = len(thing.h.storage.units)
    await thing.call(actor, "get")
    await thing.call(actor, "look_up", "none")
    assert len(thing.h.storage.units) == units


@on_every_kind("kv")
async def test_what_is_put_is_found_and_what_is_removed_is_not(thing: World) -> None:
    actor = await thing.actor()
    assert await thing.call(actor, "look_up", "k") is None
    await thing.call(actor, "put", "k", "v")
    await thing.sleep(actor)
    assert await thing.call(actor, "look_up", "k") == "v"
    await thing.call(actor, "remove", "k")
    await thing.call(actor, "remove", "k")
    assert await thing.call(actor, "look_up", "k") is None
    await thing.sleep(actor)
    assert await thing.call(actor, "look_up", "k") is None


@on_every_kind("kv")
async def test_lists_are_in_byte_order_by_prefix_or_range_and_either_way(thing: World) -> None:
    actor = await thing.actor()
    for key in ("b", "a/2", "a/10", "a", "c", "a/é", "a0"):
        await thing.call(actor, "put", key, key.upper())
    for _ in range(2):
        assert await thing.call(actor, "entries", "a/") == [["a/10", "A/10"], ["a/2", "A/2"], ["a/é", "A/É"]]
        assert await thing.call(actor, "range", "a/2", "c", False, 1000) == ["a/2", "a/é", "a0", "b"]
        assert await thing.call(actor, "range", "a/2", "c", True, 2) == ["b", "a0"]
        await thing.sleep(actor)
    await thing.call(actor, "remove_range", "a/", "a0")
    assert await thing.call(actor, "range", "a", "d", False, 1000) == ["a", "a0", "b", "c"]
    await thing.sleep(actor)
    assert await thing.call(actor, "range", "a", "d", False, 1000) == ["a", "a0", "b", "c"]


@on_every_kind("kv")
async def test_a_value_over_its_limit_is_refused_and_the_handler_may_go_on(thing: World) -> None:
    actor = await thing.actor()
    assert await thing.call(actor, "put_big", thing.limits.kv_value) == "taken"
    await thing.call(actor, "remove", "big")
    assert await thing.call(actor, "put_big", thing.limits.kv_value + 1) == "limit/exceeded"
    assert await thing.call(actor, "look_up", "big") is None
    assert thing.h.count("limits", "kv_value") == 1
