"""A static actor takes part in turns as a guest does: results, errors, state, waits, sockets, alarms, its end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from host.bridge.envelopes import (
    AlarmEvent,
    HttpReply,
    RequestEvent,
    SocketClosedEvent,
    SocketMessageEvent,
    SocketOpenedEvent,
    StartReply,
    StopEvent,
)
from host.model.effects import KvPut, SendClose, SendFrame
from host.model.errors import CallerError
from host.static.actor import Actor, action
from host.static.alarms import Alarm
from host.static.errors import UserError
from host.static.http import Request, Response
from host.static.sockets import Closed, Message, Socket
from host.static.spec import spec_of
from host.static.tasks import Deferred
from host.wire.values import ValueSet
from tests.static.support import Turns


class Counter(Actor):
    state: Any = {"count": 0, "seen": []}

    def on_create(self, input: Any) -> None:
        self.state["seen"].append(input)

    @action
    def add(self, by: int = 1) -> int:
        self.state["count"] += by
        count: int = self.state["count"]
        return count

    @action
    async def add_later(self, by: int) -> int:
        await self.delay(10)
        return self.add(by)

    @action
    async def both(self) -> list[int]:
        first, second = self.spawn(self.add_later(1)), self.spawn(self.add_later(2))
        return [await first, await second]

    @action
    def refuse(self) -> None:
        raise UserError("not today", code="closed", metadata={"until": 5})

    @action
    def break_down(self) -> None:
        raise ZeroDivisionError("a secret")

    @action
    async def wait_for_a_loop(self) -> None:
        await asyncio.sleep(0)

    @action
    def spoil(self) -> str:
        self.state = object()
        return "done"

    @action
    def put(self, key: str, value: bytes) -> list[tuple[bytes, bytes]]:
        self.kv.put(key, value)
        return self.kv.list(prefix=key[:1])

    @action
    def too_long(self) -> str:
        try:
            self.kv.put("k", bytes(200_000))
        except CallerError as error:
            return error.name
        return "taken"

    @action
    def hold(self) -> None:
        self.keep_awake(self.add_later(1))

    @action
    def plan(self) -> str:
        self.alarms.set("tea", after=1_000, payload={"cups": 2})
        return self.schedule.after(5, "add", 7)

    def helper(self) -> None:
        """No action: it is not marked."""

    def on_alarm(self, alarm: Alarm) -> None:
        self.state["seen"].append([alarm.id, alarm.payload, alarm.attempt])

    def on_request(self, request: Request) -> Response:
        return Response(request.body[::-1], 201, (("x-path", request.path),))


class Echo(Actor):
    def __init__(self) -> None:
        self.log_of_events: list[Any] = []

    async def on_websocket(self, socket: Socket) -> None:
        if socket.id == "bad":
            raise ValueError("not this one")
        self.log_of_events.append(("open", socket.id, socket.restored))

    async def on_message(self, socket: Socket, message: Message) -> None:
        if message.data == "bye":
            socket.close(3_000, "as asked")
        else:
            socket.state = message.index
            socket.send(message.data)

    def on_close(self, socket: Socket, closed: Closed) -> None:
        self.kv.put("closed", f"{socket.id} {closed.code} {socket.open}")


def test_an_action_changes_the_state_and_answers_in_the_same_turn() -> None:
    turns = Turns(Counter)
    turns.start(input=Raw(b'"first"'))
    assert turns.action(2, "add", 5) == 5
    assert turns.document() == {"count": 5, "seen": ["first"]}
    assert turns.pending == 0


def test_a_turn_that_changes_nothing_writes_no_state() -> None:
    turns = Turns(Counter)
    turns.start()
    turns.action(2, "add", 0)
    assert turns.effects.state is None
    turns.action(3, "add", 1)
    assert turns.effects.state is not None


def test_the_state_of_two_actors_of_a_class_is_not_shared() -> None:
    first, second = Turns(Counter), Turns(Counter)
    first.start()
    second.start()
    first.action(2, "add")
    assert second.action(2, "add") == 1


def test_the_start_tells_what_the_class_offers() -> None:
    turns = Turns(Counter)
    turns.start()
    reply = msgspec.json.decode(turns.results[1] or b"", type=StartReply)
    assert reply.actions is not None
    assert "add" in reply.actions
    assert "helper" not in reply.actions
    assert reply.request
    assert not reply.socket
    assert reply.hibernate


def test_a_start_on_stored_state_neither_creates_nor_forgets() -> None:
    turns = Turns(Counter, stored={"count": 41, "seen": []})
    turns.start("wake")
    assert turns.effects.state is None
    assert turns.action(2, "add") == 42


def test_a_handler_that_waits_goes_on_in_the_turn_of_the_completion() -> None:
    turns = Turns(Counter)
    turns.start()
    assert turns.action(2, "add_later", 3) is None
    assert turns.pending == 1
    assert turns.action(3, "add", 1) == 1, "another event interleaves"
    turns.action(4, "add_later", 3)
    turns.complete()
    assert turns.value(4) == 4
    assert turns.pending == 1, "only the timer of the last turn has come"


def test_spawned_coroutines_run_beside_each_other_and_are_awaited() -> None:
    turns = Turns(Counter)
    turns.start()
    turns.action(2, "both")
    assert len(turns.effects.timers) == 2
    turns.complete()
    assert turns.value(2) == [1, 3]


def test_a_user_error_passes_and_anything_else_is_masked_with_its_stack_for_the_log() -> None:
    turns = Turns(Counter)
    turns.start()
    turns.action(2, "refuse")
    assert (turns.errors[2].group, turns.errors[2].code, turns.errors[2].message) == ("user", "closed", "not today")
    assert bytes(turns.errors[2].metadata) == b'{"until":5}'  # type: ignore[arg-type]
    turns.action(3, "break_down")
    assert (turns.errors[3].group, turns.errors[3].code) == ("internal", "internal_error")
    assert b"break_down" in bytes(turns.errors[3].metadata)  # type: ignore[arg-type]


def test_an_unknown_action_and_a_method_that_is_none_are_not_found() -> None:
    turns = Turns(Counter)
    turns.start()
    for id, name in ((2, "missing"), (3, "helper"), (4, "on_create"), (5, "__init__")):
        turns.action(id, name)
        assert (turns.errors[id].group, turns.errors[id].code) == ("actor", "action_not_found")


def test_what_belongs_to_an_event_loop_cannot_be_awaited_and_the_error_says_what_can() -> None:
    turns = Turns(Counter)
    turns.start()
    turns.action(2, "wait_for_a_loop")
    assert "awaits what its context gives" in turns.errors[2].message


def test_a_state_that_cannot_be_saved_fails_what_settled_in_its_turn() -> None:
    turns = Turns(Counter)
    turns.start()
    assert turns.action(2, "spoil") is None
    assert turns.errors[2].code == "internal_error"
    assert "object" in turns.errors[2].message


def test_kv_reads_see_the_writes_of_the_turn_and_limits_raise() -> None:
    turns = Turns(Counter)
    turns.start()
    assert turns.action(2, "put", "key", b"\x00\x01") == [[b"key", b"\x00\x01"]]
    assert turns.effects.kv == (KvPut(b"key", b"\x00\x01"),)
    assert turns.action(3, "too_long") == "limit/exceeded"


def test_a_held_coroutine_is_told_and_its_end_too() -> None:
    turns = Turns(Counter)
    turns.start()
    turns.action(2, "hold")
    assert turns.effects.held == (1, 0)
    turns.complete()
    assert turns.effects.held == (0, 0)


def test_alarms_and_scheduled_actions_are_rows_and_come_back_as_calls() -> None:
    turns = Turns(Counter)
    turns.start()
    scheduled = turns.action(2, "plan")
    assert set(turns.effects.alarms) == {"tea", scheduled}
    payload = turns.effects.alarms[scheduled].payload  # type: ignore[union-attr]
    turns.deliver(AlarmEvent(3, "tea", turns.now, Raw(b'{"cups":2}'), attempt=2))
    turns.deliver(AlarmEvent(4, scheduled, turns.now, Raw(payload)))
    assert turns.document() == {"count": 7, "seen": [None, ["tea", {"cups": 2}, 2]]}


def test_a_request_gets_its_response() -> None:
    turns = Turns(Counter)
    turns.start()
    turns.deliver(RequestEvent(2, "POST", "/x?y=1", [("a", "b")], b"abc"))
    reply = msgspec.json.decode(turns.results[2] or b"", type=HttpReply)
    assert (reply.status, reply.body, reply.headers) == (201, b"cba", [("x-path", "/x?y=1")])


def test_a_socket_is_opened_answered_closed_and_told_of_its_end() -> None:
    turns = Turns(Echo)
    turns.start()
    turns.open("c1")
    turns.deliver(SocketOpenedEvent(2, "c1", "/", [], True))
    turns.deliver(SocketMessageEvent(3, "c1", 1, data=b"\xff"))
    assert turns.outputs() == (SendFrame("c1", b"\xff"),)
    assert turns.effects.connections == {"c1": (b"1", ())}
    turns.deliver(SocketMessageEvent(4, "c1", 2, text="bye"))
    assert turns.outputs() == (SendClose("c1", 3_000, "as asked"),)
    turns.deliver(SocketClosedEvent(5, "c1", 3_000, "", True))
    assert turns.effects.kv == (KvPut(b"closed", b"c1 3000 False"),)


def test_an_open_that_raises_is_an_error_and_leaves_no_socket_behind() -> None:
    turns = Turns(Echo)
    turns.start()
    turns.open("bad")
    turns.deliver(SocketOpenedEvent(2, "bad", "/", [], True))
    assert turns.errors[2].code == "internal_error"
    turns.deliver(SocketClosedEvent(3, "bad", 1_006, "", False))
    assert turns.effects.kv == ()


def test_sockets_are_there_again_after_a_wake_and_a_bad_one_is_closed_alone() -> None:
    turns = Turns(Echo, stored={}, connections=("bad", "c1"))
    turns.start("wake", connection_count=2)
    assert turns.outputs() == (SendClose("bad", 4_500, "ws.restore_error"),)
    turns.deliver(SocketMessageEvent(2, "c1", 8, text="hi"))
    assert turns.outputs() == (SendFrame("c1", "hi"),)


def test_a_stop_runs_the_hook_and_closing_ends_what_is_in_work() -> None:
    ended: list[str] = []

    class Sleeper(Actor):
        async def wait(self) -> None:
            try:
                await self.delay(1_000)
            finally:
                ended.append("cleaned up")

        @action
        def begin(self) -> None:
            self.spawn(self.wait())

        def on_sleep(self) -> None:
            self.kv.put("slept", b"1")

    turns = Turns(Sleeper)
    turns.start()
    turns.action(2, "begin")
    turns.deliver(StopEvent(3, "sleep", 15_000))
    assert turns.effects.kv == (KvPut(b"slept", b"1"),)
    assert turns.results[3] is None
    turns.guest.close()
    assert ended == ["cleaned up"]


def test_a_version_that_rose_is_told_to_the_actor() -> None:
    class Upgraded(Counter):
        version = 3

        def on_upgrade(self, from_version: int) -> None:
            self.state["seen"].append(from_version)

    turns = Turns(Upgraded, stored={"count": 1, "seen": []})
    turns.start("upgrade", from_version=2)
    assert turns.document()["seen"] == [2]


@pytest.mark.parametrize("wrong", [object, 3, type("NoVersion", (Actor,), {"version": 0})])
def test_what_is_no_class_of_actors_is_refused_when_it_is_registered(wrong: Any) -> None:
    with pytest.raises(TypeError):
        spec_of(wrong)


@pytest.mark.parametrize("name", ["exit", "cancel"])
def test_what_would_end_a_program_or_a_task_is_an_error_of_the_handler(name: str) -> None:
    class Quitter(Actor):
        @action
        async def exit(self) -> None:
            raise SystemExit(3)

        @action
        def cancel(self) -> None:
            raise asyncio.CancelledError

        @action
        def get(self) -> str:
            return "here"

    turns = Turns(Quitter)
    turns.start()
    turns.action(2, name)
    assert turns.errors[2].code == "internal_error"
    assert "ends a program or a task" in turns.errors[2].message
    assert turns.action(3, "get") == "here"


def test_a_handler_waits_for_another_by_a_deferred_of_its_own_which_settles_once() -> None:
    class Meeting(Actor):
        def __init__(self) -> None:
            self.other = Deferred[str]()

        @action
        async def come(self) -> str:
            return await self.other

        @action
        def meet(self, who: str) -> None:
            self.other.resolve(who)

    turns = Turns(Meeting)
    turns.start()
    assert turns.action(2, "come") is None
    turns.action(3, "meet", "ada")
    assert turns.value(2) == "ada"
    turns.action(4, "meet", "bob")
    assert turns.action(5, "come") == "ada"
    assert turns.pending == 0


def test_a_task_that_nobody_awaits_is_heard_of_when_it_fails() -> None:
    class Careless(Actor):
        async def fail(self) -> None:
            await self.delay(10)
            raise ValueError("it went wrong")

        @action
        def forget(self) -> None:
            self.spawn(self.fail())

        @action
        async def mind(self) -> str:
            try:
                await self.spawn(self.fail())
            except ValueError:
                return "minded"
            return "nothing"

    turns = Turns(Careless)
    turns.start()
    turns.action(2, "forget")
    turns.complete()
    assert [line.message for line in turns.effects.logs] == [
        "a task that nobody awaits failed: ValueError('it went wrong')"
    ]
    turns.action(3, "mind")
    turns.complete()
    assert turns.value(3) == "minded"
    assert turns.effects.logs == ()


def test_a_call_that_a_limit_refuses_is_counted_like_that_of_a_guest() -> None:
    turns = Turns(Counter)
    turns.start()
    turns.action(2, "too_long")
    assert turns.effects.refused == {"kv_value": 1}


def test_a_handler_that_catches_what_cannot_be_awaited_goes_on() -> None:
    class Stubborn(Actor):
        @action
        async def try_often(self) -> str:
            for _ in range(5_000):
                with contextlib.suppress(TypeError):
                    await asyncio.sleep(0)
            return "done"

    turns = Turns(Stubborn)
    turns.start()
    assert turns.action(2, "try_often") == "done"


def test_an_init_with_arguments_and_an_action_that_hides_the_actor_are_refused_when_they_are_registered() -> None:
    class Needy(Actor):
        def __init__(self, database: str) -> None:
            self.database = database

    class Content(Actor):
        def __init__(self, database: str = "none") -> None:
            self.database = database

    class Hiding(Actor):
        @action
        def delay(self) -> None:  # type: ignore[override]
            """Would take the place of `Actor.delay`."""

    with pytest.raises(TypeError, match=r"Needy\.__init__ is called without arguments"):
        spec_of(Needy)
    with pytest.raises(TypeError, match=r"the action 'delay' of Hiding hides Actor\.delay"):
        spec_of(Hiding)
    assert spec_of(Content).actions == frozenset()


def test_what_it_keeps_in_its_state_is_the_same_after_a_wake() -> None:
    kept = {
        "tags": {"a", "b"},
        "pairs": {(1, "x"), (2, "y")},
        "nested": [{"of": {frozenset({1, 2})}}],
        "data": b"\x00\xff",
        "huge": 2**80,
        "text": "$Set",
        "marked": ["$Set", 1],
        "none": None,
    }

    class Keeper(Actor):
        @action
        def keep(self) -> None:
            self.state = kept

        @action
        def same(self) -> bool:
            return bool(self.state == kept)

        @action
        def tag(self, tag: str) -> int:
            self.state["tags"].add(tag)
            return len(self.state["tags"])

        @action
        def kind(self, value: Any) -> str:
            return type(value).__name__

    turns = Turns(Keeper)
    turns.start()
    turns.action(2, "keep")
    again = Turns(Keeper)
    again.calls.state.document = turns.calls.state.document
    again.start("wake")
    assert again.effects.state is None, "what is unchanged is not written"
    assert again.action(2, "same") is True
    assert again.action(3, "tag", "c") == 3
    assert again.action(4, "kind", {1, 2}) == "set"
    assert again.action(5, "kind", ValueSet(({"no": "hash"},))) == "ValueSet"


def test_a_first_state_that_init_sets_is_one_and_undoes_nothing_later() -> None:
    class Habit(Actor):
        def __init__(self) -> None:
            self.state = {"count": 10}

        @action
        def add(self) -> int:
            self.state["count"] += 1
            count: int = self.state["count"]
            return count

    turns = Turns(Habit)
    turns.start()
    assert turns.action(2, "add") == 11
    again = Turns(Habit, stored={"count": 11})
    again.start("wake")
    assert again.effects.state is None
    assert again.action(2, "add") == 12


def test_every_one_of_many_sockets_is_there_again_after_a_wake() -> None:
    names = tuple(f"c{number:04}" for number in range(600))
    turns = Turns(Echo, stored={}, connections=names)
    turns.start("wake", connection_count=600)
    for name in (names[0], names[255], names[256], names[599]):
        turns.deliver(SocketMessageEvent(int(name[1:]) + 2, name, 8, text="hi"))
        assert turns.outputs() == (SendFrame(name, "hi"),)


def test_a_creation_that_was_cut_off_begins_anew() -> None:
    turns = Turns(Counter, stored={"count": 3, "seen": ["half"]})
    turns.start("create", input=Raw(b'"whole"'))
    assert turns.document() == {"count": 0, "seen": ["whole"]}


def test_a_state_that_cannot_be_saved_is_put_back_and_what_is_in_work_fails_too() -> None:
    class Careless(Actor):
        state: Any = {"n": 0}

        @action
        def add(self) -> int:
            self.state["n"] += 1
            found: int = self.state["n"]
            return found

        @action
        def spoil(self) -> None:
            self.state["o"] = object()

        @action
        def bury(self) -> None:
            for _ in range(200_000):
                self.state = {"s": self.state}

        @action
        async def spoil_and_wait(self) -> str:
            self.spoil()
            await self.delay(5)
            return "done"

    turns = Turns(Careless)
    turns.start()
    assert turns.action(2, "add") == 1
    for number, name in ((3, "spoil"), (5, "bury")):
        turns.action(number, name)
        assert number in turns.errors
        assert turns.action(number + 1, "add") == number // 2 + 1
    turns.action(7, "spoil_and_wait")
    assert turns.pending == 1
    turns.complete()
    assert 7 in turns.errors
    assert turns.document() == {"n": 3}
    assert turns.action(8, "add") == 4


def test_awaiting_a_sleep_of_asyncio_says_what_can_be_awaited() -> None:
    class Sleepy(Actor):
        @action
        async def nap(self) -> None:
            await asyncio.sleep(0.1)

    turns = Turns(Sleepy)
    turns.start()
    turns.action(2, "nap")
    assert "awaits what its context gives (delay, spawn)" in turns.errors[2].message
