"""/connect connections of static actors: who is let in, their state, events, and the one that an action came over."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from host.bridge.envelopes import ActionEvent, CompletionEvent, SocketClosedEvent, SocketOpenedEvent, SubscribeEvent
from host.model.effects import SendClose, SendFrame
from host.model.records import ConnectionRow
from host.model.tunnel import SocketProtocol
from host.static.actor import Actor, action
from host.static.conns import Conn
from host.static.errors import UserError
from host.static.spec import spec_of
from host.wire.frames.to_client import EventFrame, decode_to_client
from host.wire.values import from_python
from tests.static.support import Turns

NOW = 1_700_000_000_000


class Room(Actor):
    guarded_events = ("secret",)

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_before_connect(self, params: Any) -> None:
        if params == "stranger":
            raise UserError("not you", code="denied")

    async def create_conn_state(self, params: Any) -> Any:
        if params == "slow":
            await self.delay(10)
        return {"who": params}

    def on_connect(self, conn: Conn) -> None:
        if conn.params == "broken":
            raise RuntimeError("no")
        conn.send("hello", conn.state["who"])

    def on_disconnect(self, conn: Conn) -> None:
        self.seen.append(f"{conn.state['who']} left, {conn.open}")

    def on_subscribe(self, conn: Conn, event: str) -> None:
        if conn.state["who"] != "ann":
            raise UserError(f"{event} is not for you", code="forbidden")

    @action
    async def who(self, ms: int = 0) -> Any:
        if ms:
            await self.delay(ms)
        return None if self.conn is None else self.conn.state["who"]

    @action
    async def by_a_task(self) -> Any:
        return await self.spawn(self.who(5))

    @action
    def rename(self, who: str) -> None:
        assert self.conn is not None
        self.conn.state = {"who": who}

    @action
    def say(self, what: str) -> int:
        return self.broadcast("said", what)

    @action
    def all(self) -> Any:
        return {id: conn.state["who"] for id, conn in self.conns.items()}

    @action
    def leave(self) -> None:
        assert self.conn is not None
        self.conn.disconnect("bye")
        self.conn.send("late", 1)

    @action
    def notes(self) -> list[str]:
        return self.seen


def row(conn: str, protocol: SocketProtocol = "json", state: Any = None, *subscriptions: str) -> ConnectionRow:
    attached = None if state is None else from_python(state)
    return ConnectionRow(
        conn, "g", "r", 1, 0, "/", NOW, NOW, subscriptions=subscriptions, protocol=protocol, state=attached
    )


def room() -> Turns:
    turns = Turns(Room)
    turns.start()
    return turns


def connect(turns: Turns, id: int, conn: str, who: str, *subscriptions: str) -> None:
    turns.calls.state.add_connection(row(conn, "json", None, *subscriptions))
    turns.deliver(SocketOpenedEvent(id, conn, "/", [], True, Raw(from_python(who)), protocol="connect"))


def over(turns: Turns, id: int, conn: str, name: str, *args: Any) -> Any:
    turns.deliver(ActionEvent(id, name, Raw(from_python(list(args))), conn))
    return turns.value(id)


def events(turns: Turns) -> list[tuple[str, EventFrame]]:
    found = []
    for output in turns.outputs():
        assert isinstance(output, SendFrame)
        frame = decode_to_client("json", output.data)
        assert isinstance(frame, EventFrame)
        found.append((output.conn, frame))
    return found


def test_a_connection_gets_a_state_and_is_greeted() -> None:
    turns = room()
    connect(turns, 2, "a", "ann")
    assert events(turns) == [("a", EventFrame("hello", b'["ann"]'))]
    assert turns.effects.connections == {"a": (b'{"who":"ann"}', ())}
    assert turns.action(3, "all") == {"a": "ann"}


def test_who_is_not_let_in_is_no_connection() -> None:
    turns = room()
    connect(turns, 2, "a", "stranger")
    connect(turns, 3, "b", "broken")
    assert {id: (error.group, error.code) for id, error in turns.errors.items()} == {
        2: ("user", "denied"),
        3: ("internal", "internal_error"),
    }
    assert turns.action(4, "all") == {}


def test_an_action_knows_the_connection_that_it_came_over_however_long_it_takes() -> None:
    turns = room()
    connect(turns, 2, "a", "ann")
    connect(turns, 3, "b", "bob")
    over(turns, 4, "a", "who", 50)
    timers = turns.effects.timers
    assert over(turns, 5, "b", "who") == "bob"
    assert turns.action(6, "who") is None
    assert 6 in turns.results
    over(turns, 7, "b", "by_a_task")
    turns.complete()
    assert turns.value(7) == "bob"
    (timer,) = timers
    turns.calls.timer_done(timer.call)
    turns.deliver(CompletionEvent(100, timer.call))
    assert turns.value(4) == "ann"


def test_events_go_to_those_that_are_subscribed() -> None:
    turns = room()
    connect(turns, 2, "a", "ann", "said")
    connect(turns, 3, "b", "bob")
    assert turns.action(4, "say", "hi") == 1
    assert events(turns) == [("a", EventFrame("said", b'["hi"]'))]


def test_a_guarded_event_is_the_actors_to_grant() -> None:
    turns = room()
    assert spec_of(Room).reply.guarded_events == ["secret"]
    assert spec_of(Room).reply.connect
    connect(turns, 2, "a", "ann")
    connect(turns, 3, "b", "bob")
    turns.deliver(SubscribeEvent(4, "a", "secret"))
    turns.deliver(SubscribeEvent(5, "b", "secret"))
    assert 4 in turns.results
    assert (turns.errors[5].group, turns.errors[5].code) == ("user", "forbidden")


def test_a_connection_that_the_actor_ends_hears_no_more() -> None:
    turns = room()
    connect(turns, 2, "a", "ann")
    over(turns, 3, "a", "leave")
    assert turns.outputs() == (SendClose("a", 1000, "bye"),)
    assert turns.action(4, "all") == {}
    turns.deliver(SocketClosedEvent(5, "a", 1000, "bye", True))
    assert turns.action(6, "notes") == ["ann left, False"]


def test_connections_come_back_with_their_state_after_a_wake_and_no_hook_runs() -> None:
    turns = Turns(Room, stored={"kept": True})
    turns.calls.state.add_connection(row("a", "bare", {"who": "ann"}))
    turns.start("wake")
    assert turns.outputs() == ()
    assert turns.action(2, "all") == {"a": "ann"}
    over(turns, 3, "a", "rename", "anna")
    assert turns.effects.connections == {"a": (b'{"who":"anna"}', ())}
    assert over(turns, 4, "a", "who") == "anna"
