"""Clients of the /connect protocol, the same on every kind of actor that has words for them."""

from __future__ import annotations

import pytest

from tests.actor.talk import Talk, connected
from tests.behaviour.kinds import World, on_every_kind

pytestmark = pytest.mark.anyio


async def client(thing: World, actor: str, who: str) -> Talk:
    return await connected(thing.h, actor, {"who": who}, protocol="cbor")


@on_every_kind("connections")
async def test_a_client_is_let_in_and_greeted_or_told_why_not(thing: World) -> None:
    actor = await thing.actor()
    ann, stranger = await client(thing, actor, "ann"), await client(thing, actor, "stranger")
    assert [type(frame).__name__ for frame in ann.frames] == ["Init", "EventFrame"]
    assert ann.events == [("hello", ["ann"])]
    assert (stranger.errors, stranger.socket.closed) == (["user/no_entry"], (1011, "user.no_entry"))


@on_every_kind("connections")
async def test_actions_run_side_by_side_and_know_their_connection(thing: World) -> None:
    actor = await thing.actor()
    ann, bob = await client(thing, actor, "ann"), await client(thing, actor, "bob")
    slow = ann.call("whoami", 1_000)
    assert await ann.ask("whoami", 0) == "ann"
    assert await bob.ask("whoami", 0) == "bob"
    assert await ann.ask("refuse") == "user/closed"
    assert await ann.ask("nothing") == "actor/action_not_found"
    await thing.h.advance(1)
    assert ann.answers[slow] == "ann"


@on_every_kind("connections")
async def test_events_go_to_who_wants_them_and_may(thing: World) -> None:
    actor = await thing.actor()
    ann, bob = await client(thing, actor, "ann"), await client(thing, actor, "bob")
    for talk in (ann, bob):
        talk.subscribe("secret")
    bob.subscribe("news")
    await thing.h.rest()
    assert await ann.ask("announce", "secret", "s") is None
    assert await bob.ask("announce", "news", "n") is None
    assert ann.events[1:] == [("secret", ["s"])]
    assert bob.events[1:] == [("news", ["n"])]
    assert [error.partition("/")[2] for error in bob.errors] == ["forbidden"]


@on_every_kind("connections")
async def test_state_and_subscriptions_come_back_with_a_wake_and_no_hook_runs(thing: World) -> None:
    actor = await thing.actor()
    ann = await client(thing, actor, "ann")
    ann.subscribe("news")
    assert await ann.ask("rename", "anna") is None
    await thing.sleep(actor)
    assert await ann.ask("whoami", 0) == "anna"
    assert await ann.ask("announce", "news", "n") is None
    assert ann.events == [("hello", ["ann"]), ("news", ["n"])]
    ann.socket.close()
    await thing.h.rest()
    assert thing.notes(actor)[-1] == "gone anna"


@on_every_kind("connections")
async def test_the_actor_may_end_one(thing: World) -> None:
    actor = await thing.actor()
    ann = await client(thing, actor, "ann")
    number = ann.call("leave")
    assert await ann.socket.ended() == (1000, "bye")
    assert ann.answers == {number: None}
    await thing.h.rest()
    assert thing.notes(actor)[-1] == "gone ann"
