"""Requests and sockets, awake and over sleeps, the same on every kind of actor."""

from __future__ import annotations

import json

import pytest

from host.model.tunnel import HttpCall
from tests.behaviour.kinds import World, on_every_kind

pytestmark = pytest.mark.anyio


@on_every_kind("requests")
async def test_a_request_is_answered_with_status_headers_and_body(thing: World) -> None:
    actor = await thing.actor()
    call = HttpCall(actor, "POST", "/a/b?c=d", (("x-asked", "yes"),), "grüße".encode(), "ray")
    reply = await thing.h.placement.request(call)
    assert reply.error is None
    assert (reply.status, reply.body.decode()) == (201, "POST /a/b?c=d grüße")
    assert ("x-thing", "yes") in reply.headers


@on_every_kind("requests")
async def test_errors_of_a_request_are_those_of_an_action(thing: World) -> None:
    actor = await thing.actor()
    broken, refused = await thing.h.request(actor, "/fail"), await thing.h.request(actor, "/refuse")
    assert broken.error is not None
    assert refused.error is not None
    assert (broken.error.name, "secret" in broken.error.message) == ("internal/internal_error", False)
    assert (refused.error.name, refused.error.message) == ("user/closed", "not today")


@on_every_kind("requests")
async def test_a_request_wakes_it(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "add", 1)
    await thing.sleep(actor)
    assert (await thing.h.request(actor)).body == b"GET / "
    assert thing.notes(actor) == ["create -", "wake", "sleep", "wake"]


@on_every_kind("sockets")
async def test_text_and_bytes_come_back_in_order(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    sent: list[str | bytes] = ["one", b"\x00\xff", "zwölf 😀", b"", ""]
    assert await thing.talk(socket, *sent) == sent
    assert socket.acked == 5


@on_every_kind("sockets")
async def test_a_close_of_the_client_is_told_once_with_what_it_said(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    socket.close(4_321, "done here")
    await thing.h.rest()
    assert thing.notes(actor)[2:] == ["closed 4321 done here clean"]
    assert (await thing.h.image(actor)).connections == ()


@on_every_kind("sockets")
async def test_a_close_of_the_actor_follows_what_it_sent(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    assert await thing.talk(socket, "bye") == ["last"]
    assert await socket.ended() == (4_000, "bye")


@on_every_kind("sockets")
async def test_an_open_that_is_refused_closes_that_socket_alone(thing: World) -> None:
    actor = await thing.actor()
    kept = await thing.open(actor)
    refused = await thing.h.open(actor, path="/refuse")
    assert await refused.ended() == (1011, "user.no_entry")
    assert await thing.talk(kept, "still here") == ["still here"]
    assert [row.conn_id for row in (await thing.h.image(actor)).connections] == [kept.conn]


@on_every_kind("sockets")
async def test_messages_of_one_socket_wait_for_each_other_and_those_of_another_do_not(thing: World) -> None:
    actor = await thing.actor()
    first, second = await thing.open(actor), await thing.open(actor)
    assert await thing.talk(first, "wait:1000", "then", "index") == []
    assert await thing.talk(second, "meanwhile") == ["meanwhile"]
    await thing.h.advance(1)
    assert first.frames[1:] == ["waited", "then", "3"]


@on_every_kind("sockets")
async def test_a_message_whose_handler_throws_is_settled_and_the_socket_stays(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    assert await thing.talk(socket, "throw", "index") == ["before", "2"]
    assert (socket.acked, socket.closed) == (2, None)


@on_every_kind("sockets")
async def test_an_action_reaches_every_socket_or_those_of_a_tag(thing: World) -> None:
    actor = await thing.actor()
    first, second = await thing.open(actor), await thing.open(actor)
    await thing.talk(first, "tag:red")
    await thing.call(actor, "say", "all")
    await thing.call(actor, "say_to", "red", "some")
    assert (first.frames[1:], second.frames[1:]) == (["all", "some"], ["all"])


@on_every_kind("sockets")
async def test_parameters_of_a_connection_are_seen(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor, params=json.dumps("of mine").encode())
    assert await thing.talk(socket, "params") == ["of mine"]
    await thing.sleep(actor)
    assert await thing.talk(socket, "params") == ["of mine"]


@on_every_kind("hibernation")
async def test_index_state_and_tags_are_there_after_a_sleep_and_the_open_is_not_repeated(thing: World) -> None:
    actor = await thing.actor()
    first, second = await thing.open(actor), await thing.open(actor)
    assert await thing.talk(first, "seen", "seen", "tag:red", "restored", "index") == ["1", "2", "no", "5"]
    for slept in range(3):
        await thing.sleep(actor)
        assert await thing.talk(first, "index") == [str(6 + slept * 3)]
        assert await thing.talk(first, "seen", "restored") == [str(3 + slept), "yes"]
    await thing.sleep(actor)
    await thing.call(actor, "say_to", "red", "tagged")
    assert first.frames[-1] == "tagged"
    assert await thing.talk(second, "restored", "index") == ["yes", "2"]
    assert (first.closed, second.closed) == (None, None)


@on_every_kind("hibernation")
async def test_a_close_while_it_sleeps_wakes_it(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    await thing.sleep(actor)
    socket.close(1_001, "away")
    await thing.h.rest()
    assert thing.notes(actor) == ["create -", "wake", "sleep", "wake", "closed 1001 away clean"]


@on_every_kind("hibernation")
async def test_messages_that_wait_through_a_stop_are_handled_after_it(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    assert await thing.talk(socket, "doze", "one", "two") == ["one", "two"]
    assert (socket.acked, await thing.h.index(socket)) == (3, 3)
    await thing.h.rest()
    assert await thing.talk(socket, "index") == ["4"]


@on_every_kind("commit")
async def test_no_frame_answer_or_acknowledgement_leaves_before_the_commit(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    thing.h.storage.hold()
    socket.send("seen")
    await thing.h.storage.until_held()
    assert (socket.frames[1:], socket.acked) == ([], 0)
    thing.h.storage.release()
    assert (await socket.received(2))[1:] == ["1"]
    await thing.h.rest()
    assert socket.acked == 1


@on_every_kind("commit")
async def test_a_message_whose_commit_failed_is_handled_again_as_if_it_never_was(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    await thing.talk(socket, "seen")
    thing.h.storage.unavailable()
    assert await thing.talk(socket, "seen") == []
    await thing.h.advance(2)
    assert socket.frames[1:] == ["1", "2"]
    assert await thing.talk(socket, "index", "restored") == ["3", "yes"]
