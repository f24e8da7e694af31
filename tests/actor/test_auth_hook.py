"""The auth hook: asked before anything of a client's is delivered, in JavaScript and in Python, awake, asleep and while
the actor moves to another version."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest

from host.model.errors import DormiceError
from host.model.tunnel import ActionCall, ActionReply, ActionRequest, HttpCall, HttpReply, Opened, Visitor
from host.static.actor import Actor, action
from host.static.errors import UserError
from host.static.http import AuthRequest, Request, Response
from host.static.sockets import Message, Socket
from host.static.spec import spec_of
from tests.actor.harness import CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

ROOM = """
import { actor, UserError } from "isolate";
export default actor({
  state: { asked: [] },
  async auth(c, r) {
    c.state.asked.push([r.kind, r.role, r.name ?? null, r.method ?? null, r.path ?? null, r.headers.get("x-app"),
                        r.params ?? null, r.claims ?? null]);
    if (r.headers.get("x-app") === "no") throw new UserError("not you", { code: "stranger" });
    if (r.headers.get("x-app") === "later") throw new UserError("not yet", { code: "later", metadata: {status: 401} });
    if (r.headers.get("x-app") === "bug") throw new Error("a secret of the hook");
    if (r.headers.get("x-app") === "long") return "x".repeat(5000);
    if (r.headers.get("x-app") === "wait") await new Promise((done) => setTimeout(done, 1000));
    return r.claims ? { user: r.claims.user } : undefined;
  },
  actions: {
    who: async (c) => { await new Promise((done) => setTimeout(done, 1)); return c.auth ?? null; },
    asked: (c) => c.state.asked.length,
  },
  onRequest: (c, r) => Response.json(c.auth ?? null),
  onWebSocket(c, s) {
    s.onopen = () => s.send("open " + JSON.stringify([c.auth ?? null, s.auth ?? null]));
    s.onmessage = () => s.send("message " + JSON.stringify([c.auth ?? null, s.auth ?? null]));
  },
});
"""
OPEN = """
import { actor } from "isolate";
export default actor({ actions: { who: (c) => "anybody" }, onWebSocket(c, s) {}, onRequest: () => new Response("x") });
"""


class Room(Actor):
    state: Any = {"asked": []}

    async def auth(self, request: AuthRequest) -> Any:
        app = request.header("X-App")
        self.state["asked"].append(
            [request.kind, request.role, request.name, request.method, request.path, app, request.params,
             request.claims]
        )  # fmt: skip
        if app == "no":
            raise UserError("not you", code="stranger")
        if app == "later":
            raise UserError("not yet", code="later", metadata={"status": 401})
        if app == "bug":
            raise RuntimeError("a secret of the hook")
        if app == "long":
            return "x" * 5_000
        if app == "wait":
            await self.delay(1_000)
        return {"user": request.claims["user"]} if request.claims else None

    @action
    async def who(self) -> Any:
        await self.delay(1)
        return self.authorised

    @action
    def asked(self) -> int:
        return len(self.state["asked"])

    def on_request(self, request: Request) -> Response:
        return Response(json.dumps(self.authorised).encode())

    def on_websocket(self, socket: Socket) -> None:
        if not socket.restored:
            socket.send("open " + json.dumps([self.authorised, socket.auth], separators=(",", ":")))

    def on_message(self, socket: Socket, message: Message) -> None:
        socket.send("message " + json.dumps([self.authorised, socket.auth], separators=(",", ":")))


Rooms = Callable[[], AbstractAsyncContextManager[tuple[Harness, str]]]


@pytest.fixture(params=["js", "static"])
def room(request: pytest.FixtureRequest, shelf: CodeShelf) -> Rooms:
    """A node with one actor that has the hook."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Harness, str]]:
        registered = {"a": spec_of(Room)} if request.param == "static" else None
        with anyio.fail_after(20):
            async with open_harness(shelf, registered=registered) as h:
                if not registered:
                    await h.define(ROOM)
                yield h, await h.actor()

    return opened


def visitor(app: str = "", user: str | None = None, params: bytes | None = None) -> Visitor:
    claims = None if user is None else json.dumps({"user": user}).encode()
    return Visitor("anonymous" if user is None else "connection", (("x-app", app),), params, claims)


async def act(h: Harness, actor: str, name: str, who: Visitor | None) -> Any:
    """The output; a refusal raises."""
    replies: list[ActionReply] = []
    refused: list[DormiceError] = []

    async def ask() -> None:
        try:
            replies.append(await h.placement.action(ActionCall(actor, name, b"[]", "ray"), who))
        except DormiceError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        await h.advance(2)
    if refused:
        raise refused[0]
    (reply,) = replies
    assert reply.error is None, reply.error
    return json.loads(reply.output)


async def asked(h: Harness, actor: str) -> Any:
    """What the hook was told last."""
    return (await h.document(actor))["asked"][-1]


async def fetch(h: Harness, actor: str, who: Visitor) -> HttpReply:
    return await h.placement.request(HttpCall(actor, "POST", "/p?a=1", (), b"", "ray"), who)


def opening(actor: str, conn: str) -> Opened:
    return Opened(actor, conn, "gw", "ray", "/s", (), None, 0)


async def test_the_hook_knows_the_client_and_what_it_returns_is_the_handlers(room: Rooms) -> None:
    async with room() as (h, actor):
        assert await act(h, actor, "who", visitor("hi", "ada", b"[1]")) == {"user": "ada"}
        assert await asked(h, actor) == [
            "action", "connection", "who", None, None, "hi", [1], {"user": "ada"}
        ]  # fmt: skip
        assert await act(h, actor, "who", visitor()) is None
        assert json.loads((await fetch(h, actor, visitor("", "bob"))).body) == {"user": "bob"}
        assert (await asked(h, actor))[:5] == ["request", "connection", None, "POST", "/p?a=1"]


async def test_what_two_clients_were_let_in_as_does_not_mix_while_their_handlers_wait(room: Rooms) -> None:
    async with room() as (h, actor):
        await act(h, actor, "who", visitor())
        found: dict[str, Any] = {}

        async def ask(name: str) -> None:
            reply = await h.placement.action(ActionCall(actor, "who", b"[]", "ray"), visitor("", name))
            found[name] = json.loads(reply.output)

        async with anyio.create_task_group() as tasks:
            for name in ("ada", "bob", "eve"):
                tasks.start_soon(ask, name)
            await h.rest()
            await h.advance(1)
        assert found == {name: {"user": name} for name in ("ada", "bob", "eve")}


@pytest.mark.parametrize(
    ("app", "error", "status"),
    [("no", "user/stranger", 403), ("later", "user/later", 401), ("bug", "internal/internal_error", None)],
)
async def test_throwing_refuses_with_its_code(room: Rooms, app: str, error: str, status: int | None) -> None:
    async with room() as (h, actor):
        # asleep, so that nobody knows yet that there is a hook; and awake
        for _ in range(2):
            with pytest.raises(DormiceError) as refused:
                await act(h, actor, "who", visitor(app))
            assert (refused.value.name, refused.value.status) == (error, status)
            assert "secret" not in refused.value.message
        with pytest.raises(DormiceError) as refused:
            await fetch(h, actor, visitor(app))
        assert refused.value.name == error
        with pytest.raises(DormiceError) as refused:
            await h.placement.open_socket(opening(actor, "c" * 32), visitor(app))
        assert refused.value.name == error
        assert len((await h.document(actor))["asked"]) == 4


async def test_what_the_hook_returns_has_a_limit(room: Rooms) -> None:
    async with room() as (h, actor):
        with pytest.raises(DormiceError) as refused:
            await act(h, actor, "who", visitor("long"))
        assert refused.value.name == "message/outgoing_too_long"
        assert refused.value.metadata == b'{"limit":"auth_data","used":5002,"allowed":4096}'


async def test_a_socket_has_what_the_hook_returned_also_after_a_wake(room: Rooms) -> None:
    async with room() as (h, actor):
        socket = await h.gateway.open(actor, visitor=visitor("", "ada"))
        await h.rest()
        socket.send("one")
        await h.rest()
        await h.asleep(actor)
        socket.send("two")
        await h.rest()
        whole = json.dumps([{"user": "ada"}, {"user": "ada"}], separators=(",", ":"))
        assert socket.frames == [f"open {whole}", f"message {whole}", f"message {whole}"]
        assert len((await h.document(actor))["asked"]) == 1


async def test_a_connection_is_asked_about_once_and_has_what_the_hook_returned(room: Rooms) -> None:
    async with room() as (h, actor):
        socket = await h.gateway.open(actor, protocol="json", visitor=visitor("", "ada"))
        await h.rest()
        for number in (1, 2):
            socket.send(ActionRequest(number, "who", b"[]"))
            await h.rest()
            await h.advance(1)
            await h.asleep(actor)
        answers = [json.loads(frame)["body"] for frame in socket.frames[1:]]
        assert [(body["tag"], body["val"]["output"]) for body in answers] == [("ActionResponse", {"user": "ada"})] * 2
        (kind, role, *_), *more = (await h.document(actor))["asked"]
        assert (kind, role, more) == ("connect", "connection", [])


async def test_what_no_client_asks_for_does_not_ask_the_hook(room: Rooms) -> None:
    async with room() as (h, actor):
        call = ActionCall(actor, "who", b"[]", "ray", depth=1, caller="e" * 32, caller_name="other")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(h.placement.action, call)
            await h.rest()
            await h.advance(1)
        assert (await h.document(actor))["asked"] == []


async def test_a_call_without_a_visitor_is_not_delivered_where_the_hook_has_not_been_asked(room: Rooms) -> None:
    """Whoever forgets to say who asks gets nothing done: the hook fails closed."""
    async with room() as (h, actor):
        reply = await h.placement.action(ActionCall(actor, "who", b"[]", "ray"))
        assert reply.error is not None
        assert reply.error.name == "actor/restarting"


async def test_an_action_that_waits_for_the_hook_holds_up_nobody(room: Rooms) -> None:
    async with room() as (h, actor):
        await act(h, actor, "who", visitor())
        slow: list[ActionReply] = []

        async def ask() -> None:
            slow.append(await h.placement.action(ActionCall(actor, "who", b"[]", "ray"), visitor("wait")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await h.rest()
            assert slow == []
            reply = await h.placement.action(ActionCall(actor, "asked", b"[]", "ray"), visitor())
            assert reply.output == b"3"
            await h.advance(3)
        assert [one.error for one in slow] == [None]


async def test_a_version_with_a_hook_is_asked_about_what_waited_for_one_without(shelf: CodeShelf) -> None:
    with anyio.fail_after(20):
        async with open_harness(shelf) as h:
            await h.define(OPEN)
            actor = await h.actor()
            assert await act(h, actor, "who", visitor()) == "anybody"
            await h.define(ROOM)
            h.executor.hold()
            refused: list[DormiceError] = []

            async def ask() -> None:
                try:
                    await h.placement.action(ActionCall(actor, "who", b"[]", "ray"), visitor("no"))
                except DormiceError as error:
                    refused.append(error)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(h.placement.sleep, actor)
                await h.executor.until_held()
                # the stop is under way: this one waits for the next start, which is of the other version
                tasks.start_soon(ask)
                late = h.gateway.place(opening(actor, "d" * 32))
                h.placement.post_opened(late.opened)
                h.executor.release()
                await h.rest()
            assert [error.name for error in refused] == ["user/stranger"]
            assert late.closed == (1012, "actor.restarted")
            assert h.count("socket_closes", "actor.restarted") == 1


async def test_who_waits_for_a_hook_that_the_next_version_does_not_have_is_let_in_by_that(shelf: CodeShelf) -> None:
    with anyio.fail_after(20):
        async with open_harness(shelf) as h:
            await h.define(ROOM)
            actor = await h.actor()
            assert await act(h, actor, "who", visitor("", "ada")) == {"user": "ada"}
            await h.define(OPEN)
            h.executor.hold()
            replies: list[ActionReply] = []

            async def ask() -> None:
                replies.append(await h.placement.action(ActionCall(actor, "who", b"[]", "ray"), visitor("no")))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(h.placement.sleep, actor)
                await h.executor.until_held()
                # the stop is under way, and nobody hears the question any more
                tasks.start_soon(ask)
                h.executor.release()
                await h.rest()
            assert [(reply.error, reply.output) for reply in replies] == [(None, b'"anybody"')]
