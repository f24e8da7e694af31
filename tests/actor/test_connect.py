"""The host's half of /connect: who is let in, what interleaves, what is answered, and what a wake brings back (D4)."""

from __future__ import annotations

import anyio
import pytest

from host.model.limits import Limits
from host.model.tunnel import ActionCall, SocketProtocol
from host.wire.frames.to_client import EventFrame, Init
from tests.actor.guests import raw, scripted, settle
from tests.actor.harness import CodeShelf, Harness, open_harness
from tests.actor.talk import LIMITS, ROOM, Talk, connected

pytestmark = pytest.mark.anyio


@pytest.fixture
async def room(h: Harness) -> str:
    return await h.new(ROOM, limits=LIMITS)


@pytest.mark.parametrize("protocol", ["json", "cbor", "bare"])
async def test_the_first_frame_is_init_and_what_the_guest_sent_before_comes_right_behind(
    h: Harness, room: str, protocol: SocketProtocol
) -> None:
    talk = await connected(h, room, {"who": "ann"}, protocol=protocol)
    assert talk.frames == [Init(room, talk.socket.conn), EventFrame("hello", b'["ann"]')]
    assert await talk.ask("who") == [talk.socket.conn, "ann"]
    (row,) = (await h.image(room)).connections
    assert (row.protocol, row.state, row.msg_index, row.hibernatable) == (protocol, b'{"who":"ann"}', 1, True)
    (shown,) = (await h.placement.snapshot(room)).connections
    assert (shown.protocol, shown.subscriptions) == (protocol, [])


async def test_init_waits_for_an_open_that_takes_several_turns_and_so_does_what_the_client_asks(
    h: Harness, room: str
) -> None:
    socket = await h.gateway.open(room, protocol="json", params=b'{"wait":2000,"who":"bob"}')
    talk = Talk(h, room, socket)
    number = talk.call("who")
    await h.rest()
    assert (socket.frames, socket.acked) == ([], 0)
    await h.advance(2)
    assert [type(frame).__name__ for frame in talk.frames] == ["Init", "EventFrame", "ActionResponse"]
    assert talk.answers == {number: [socket.conn, "bob"]}


async def test_a_connection_that_is_refused_is_told_why_and_closed_1011(h: Harness, room: str) -> None:
    talk = await connected(h, room, {"deny": True})
    assert talk.errors == ["user/denied"]
    assert len(talk.frames) == 1
    assert talk.socket.closed == (1011, "user.denied")
    assert (await h.image(room)).connections == ()
    assert h.metrics.counter("socket_closes", "open_failed") == 1


async def test_so_is_one_whose_open_faults_or_takes_too_long(h: Harness) -> None:
    guest = """import { actor } from "rivetkit";
      export default actor({ onConnect(c) { %s }, options: { onConnectTimeout: 1e9 } });"""
    faulty = await h.new(guest % "for (let i = 0; i < 1000; i++) c.kv.get('x').catch(() => {});", limits=LIMITS)
    talk = await connected(h, faulty)
    assert talk.errors == ["guest/budget"]
    assert talk.socket.closed == (1011, "guest.budget")
    await h.define(guest % "return new Promise((done) => setTimeout(done, 1e9));", "slow")
    slow = await h.actor("slow")
    socket = await h.gateway.open(slow, protocol="bare")
    await h.advance(61)
    assert Talk(h, slow, socket).errors == ["actor/action_timed_out"]
    assert socket.closed == (1011, "actor.action_timed_out")


async def test_a_guest_that_does_not_announce_connect_takes_no_such_connection(h: Harness) -> None:
    actor = await h.new(scripted(settle(1)))
    with pytest.raises(Exception, match="actor/method_not_allowed"):
        await h.open(actor, protocol="json")
    assert (await h.image(actor)).connections == ()


async def test_d4_actions_begin_in_the_order_of_their_indexes_and_answers_leave_as_they_settle(
    h: Harness, room: str
) -> None:
    talk = await connected(h, room)
    for name, ms in (("a", 3_000), ("b", 0), ("c", 1_000), ("d", 0)):
        talk.call("work", name, ms)
    await h.rest()
    assert list(talk.answers) == [2, 4]
    assert await talk.row() == (0, (2, 4), ())
    assert talk.socket.acked == 0
    await h.advance(1)
    assert list(talk.answers) == [2, 4, 3]
    await h.advance(2)
    assert talk.answers == {2: "b", 4: "d", 3: "c", 1: "a"}
    assert (await talk.row(), talk.socket.acked) == ((4, (), ()), 4)
    log = await h.call(room, "read")
    assert [line for line in log if line.startswith("begun")] == ["begun a", "begun b", "begun c", "begun d"]


async def test_d1_an_answer_leaves_after_the_commit_that_settles_its_index(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    h.storage.hold()
    number = talk.call("inc")
    await h.storage.until_held()
    await h.rest()
    assert talk.answers == {}
    h.storage.release()
    await h.rest()
    assert (talk.answers, talk.socket.acked) == ({number: 1}, 1)
    assert h.storage.units[-1].indexes[0].msg_index == 1


async def test_an_error_answers_its_action_alone_and_what_the_handler_wrote_stays(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    assert await talk.ask("fail") == "user/closed"
    assert await talk.ask("nothing") == "actor/action_not_found"
    assert await talk.ask("inc") == 2
    assert talk.errors == []
    assert talk.socket.closed is None


async def test_an_action_has_a_time_out_and_a_bound_on_what_it_takes(h: Harness) -> None:
    room = await h.new(ROOM, limits={**LIMITS, "action": 1_000})
    talk = await connected(h, room)
    late = talk.call("work", "late", 120_000)
    await h.advance(61)
    assert talk.answers == {late: "actor/action_timed_out"}
    assert await talk.ask("say", "x" * 1_000) == "message/incoming_too_long"
    assert await talk.ask("inc") == 1
    assert h.metrics.counter("limits", "action") == 1


async def test_subscriptions_are_applied_in_order_and_stored_with_their_index(h: Harness, room: str) -> None:
    talk, other = await connected(h, room), await connected(h, room, protocol="bare")
    talk.subscribe("said")
    talk.call("say", "one")
    talk.subscribe("said", False)
    talk.call("say", "two")
    talk.subscribe("said")
    talk.subscribe("said")
    other.subscribe("said")
    await h.rest()
    other.call("say", "three")
    await h.rest()
    assert [event for event in talk.events if event[0] == "said"] == [("said", ["one"]), ("said", ["three"])]
    assert [event for event in other.events if event[0] == "said"] == [("said", ["three"])]
    assert await talk.row() == (6, (), ("said",))
    # An event comes before the answer of the action that sent it.
    assert [type(frame).__name__ for frame in talk.frames[2:]] == [
        "EventFrame", "ActionResponse", "ActionResponse", "EventFrame",
    ]  # fmt: skip


async def test_a_subscription_does_not_wait_for_an_action_that_takes_long(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    talk.call("work", "long", 30_000)
    talk.subscribe("said")
    await h.rest()
    assert await talk.row() == (0, (2,), ("said",))
    await h.call(room, "say", "hi")
    assert talk.events[-1] == ("said", ["hi"])


async def test_a_guarded_event_is_asked_for_first_and_a_refusal_closes_nothing(h: Harness, room: str) -> None:
    nobody, ann = await connected(h, room), await connected(h, room, {"who": "ann"})
    for talk in (nobody, ann):
        talk.subscribe("secret")
    await h.rest()
    await h.call(room, "tell")
    assert nobody.errors == ["auth/forbidden"]
    assert [talk.events[-1] for talk in (nobody, ann)] == [("hello", ["nobody"]), ("secret", [1])]
    assert [(await talk.row())[2] for talk in (nobody, ann)] == [(), ("secret",)]
    assert await nobody.ask("inc") == 1
    assert (await h.call(room, "read"))[1:] == ["asked nobody", "asked ann"]


async def test_of_two_wishes_for_a_guarded_event_the_second_waits_for_the_answer_to_the_first(
    h: Harness, room: str
) -> None:
    talk = await connected(h, room, {"who": "slow"})
    talk.subscribe("secret")
    talk.subscribe("secret", False)
    number = talk.call("inc")
    await h.rest()
    assert (talk.answers, await talk.row()) == ({number: 1}, (0, (3,), ()))
    await h.advance(1)
    assert await talk.row() == (3, (), ())
    await h.call(room, "tell")
    assert ("secret", [1]) not in talk.events


async def test_a_client_may_want_so_many_events_and_no_more(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(subscriptions=2, event_name=8)) as h:
        room = await h.new(ROOM, limits=LIMITS)
        talk = await connected(h, room)
        for event in ("a", "b", "c", "b", "too long a name"):
            talk.subscribe(event)
        talk.subscribe("a", False)
        talk.subscribe("d")
        await h.rest()
        assert talk.errors == ["limit/exceeded", "limit/exceeded"]
        assert await talk.row() == (7, (), ("b", "d"))
        assert (h.metrics.counter("limits", "subscriptions"), h.metrics.counter("limits", "event_name")) == (1, 1)


@pytest.mark.parametrize("cause", ["action", "request", "message", "close", "connection"])
async def test_a_wake_brings_back_state_and_subscriptions_and_no_second_init(h: Harness, room: str, cause: str) -> None:
    ann, bob = await connected(h, room, {"who": "ann"}), await connected(h, room, {"who": "bob"}, protocol="bare")
    ann.subscribe("said")
    assert await ann.ask("rename", "anna") is None
    bob.subscribe("said")
    await h.rest()
    await h.placement.sleep(room)
    before = len(ann.frames)
    if cause == "action":
        await h.call(room, "inc")
    elif cause == "request":
        await h.request(room)
    elif cause == "message":
        assert await ann.ask("who") == [ann.socket.conn, "anna"]
        before += 1
    elif cause == "close":
        bob.socket.close()
    else:
        await connected(h, room)
    await h.rest()
    await h.call(room, "say", "awake")
    log = await h.call(room, "read")
    assert log.count("wake") == 2
    assert ("gone bob" in log) == (cause == "close")
    new = ann.frames[before:]
    assert new[-1] == EventFrame("said", b'["awake"]')
    assert not any(isinstance(frame, Init) for frame in new)
    if cause != "close":
        assert bob.events[-1] == ("said", ["awake"])
    assert {"anna"} <= set(await h.call(room, "all"))


async def test_messages_that_come_while_it_sleeps_are_answered_in_order(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    await h.placement.sleep(room)
    numbers = [talk.call("inc") for _ in range(5)]
    await h.rest()
    assert [talk.answers[number] for number in numbers] == [1, 2, 3, 4, 5]


async def test_a_connection_that_the_actor_ends_is_closed_behind_its_frames(h: Harness, room: str) -> None:
    talk = await connected(h, room, {"who": "ann"})
    talk.call("leave")
    assert await talk.socket.ended() == (1000, "bye")
    await h.rest()
    assert (await h.call(room, "read"))[-1] == "gone ann"
    assert (await h.image(room)).connections == ()


async def test_d4_a_close_comes_after_every_action_of_its_connection(h: Harness, room: str) -> None:
    talk = await connected(h, room, {"who": "ann"})
    talk.call("work", "a", 2_000)
    talk.socket.close()
    await h.rest()
    assert "gone ann" not in await h.call(room, "read")
    await h.advance(2)
    assert (await h.call(room, "read"))[-2:] == ["done a", "gone ann"]


async def test_the_action_that_ends_its_actor_is_answered_before_the_close(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    number = talk.call("end")
    with anyio.fail_after(10):
        assert await talk.socket.ended() == (1000, "actor.destroyed")
    assert talk.answers == {number: "ended"}


async def test_a_version_that_takes_none_closes_those_that_there_are(h: Harness, room: str) -> None:
    talk, raw = await connected(h, room), await connected(h, room)
    await h.define(scripted(settle(1)))
    h.placement.roll_out("default", "a", 1_000)
    await h.rest()
    with anyio.fail_after(10):
        assert await talk.socket.ended() == await raw.socket.ended() == (1011, "actor.method_not_allowed")


async def test_parameters_over_http_reach_the_action(h: Harness) -> None:
    guest = 'import { actor } from "rivetkit"; export default actor({ actions: { params: (c) => c.conn.params } });'
    actor = await h.new(guest)
    reply = await h.placement.action(ActionCall(actor, "params", b"[]", "ray", params=b'{"who":"ann"}'))
    assert reply.output == b'{"who":"ann"}'


@pytest.mark.parametrize("protocol", ["json", "cbor", "bare"])
@pytest.mark.parametrize("metadata", ["1e999", '["$Nope",1]', '"\\ud800"'])
async def test_an_error_of_the_sdk_with_metadata_that_is_no_value_is_a_fault_and_not_one_of_the_host(
    h: Harness, protocol: SocketProtocol, metadata: str
) -> None:
    said = f'{{"group":"actor","code":"validation_error","message":"no","metadata":{metadata}}}'
    actor = await h.new(
        scripted(
            raw('{"settled":[{"event":1,"result":{"connect":true}}],"pending":0}'),
            settle(2),
            raw(f'{{"settled":[{{"event":3,"error":{said}}}],"pending":0}}'),
        )
    )
    talk = await connected(h, actor, protocol=protocol)
    assert await talk.ask("any") == "guest/bad_reply"
    assert h.metrics.counter("actor_tasks_failed", "internal") == 0


async def test_what_is_sent_to_a_connection_before_it_is_open_is_bounded(h: Harness) -> None:
    """An open may take as long as a handler may, and each turn meanwhile may send some megabytes."""
    actor = await h.new("""
      import { actor } from "rivetkit";
      export default actor({
        state: { gone: 0 },
        onConnect: (c, conn) => conn.isHibernatable && new Promise((done) => setTimeout(done, 5000)),
        onDisconnect(c, conn) { if (conn.isHibernatable) c.state.gone += 1; },
        options: { onConnectTimeout: 1e9 },
        actions: {
          flood(c) { for (const conn of c.conns.values()) if (conn.isHibernatable) conn.send("x", "y".repeat(5e5)); },
        },
      });""")
    kept = await h.gateway.open(actor, protocol="json")
    for _ in range(2):
        await h.call(actor, "flood")
    await h.advance(5)
    assert [type(frame).__name__ for frame in Talk(h, actor, kept).frames] == ["Init", "EventFrame", "EventFrame"]
    kept.close()
    await h.rest()
    slow = await h.gateway.open(actor, protocol="json")
    for _ in range(5):
        await h.call(actor, "flood")
    assert slow.closed == (1013, "ws.slow_reader")
    assert h.metrics.counter("limits", "outgoing_queue") == 1
    await h.advance(5)
    assert slow.frames == []
    assert (await h.document(actor))["gone"] == 2
    assert (await h.image(actor)).connections == ()
