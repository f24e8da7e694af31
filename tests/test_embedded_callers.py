"""Who reaches a host inside a program: nobody but whom the program's resolver names, and the program itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvloop
from starlette.applications import Starlette
from starlette.routing import Mount

from host import (
    Actor,
    AuthRequest,
    Host,
    Identity,
    Message,
    Request,
    Response,
    Socket,
    UserError,
    action,
    caller,
)
from host.client.socket import SocketClosed
from host.model.errors import CallerError, DormiceError
from host.model.roles import SCOPES

pytestmark = pytest.mark.anyio


class Desk(Actor):
    state: Any = {"count": 0}

    def auth(self, request: AuthRequest) -> Any:
        if request.claims == {"user": "banned"}:
            raise UserError("not you", code="banned")
        return [request.role, request.claims]

    @action
    def who(self) -> Any:
        return self.authorised

    @action
    def add(self, by: int) -> int:
        self.state["count"] += by
        count: int = self.state["count"]
        return count

    def on_request(self, request: Request) -> Response:
        return Response(" ".join(f"{name}={value}" for name, value in request.headers))


DESK = {"desk": Desk}
WHO = "/gateway/desk/action/who?rvt-method=getOrCreate&rvt-key=k"


async def by_header(scope: Mapping[str, Any]) -> Identity | None:
    """The program's own way to know its users."""
    headers = dict(scope["headers"])
    user = headers.get(b"x-user", b"").decode()
    if user == "locked":
        raise PermissionError
    if user == "broken":
        raise RuntimeError("the secret of the resolver")
    if user == "homeless":
        return Identity("tenant", None, SCOPES)
    if user == "mistyped":
        return "admin"  # type: ignore[return-value]
    if user == "root":
        return Identity("admin")
    return caller(f"of-{user}", claims={"user": user}) if user else None


@asynccontextmanager
async def asking(app: Any, base: str = "http://app.example", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as http:
        yield http


def name_of(answer: httpx.Response) -> str:
    body = answer.json()
    return f"{body['group']}/{body['code']}"


async def test_a_host_that_was_given_nothing_lets_nobody_in(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK) as host, asking(host.asgi()) as http:
            assert (await http.post(WHO)).status_code == 401
            assert (await http.get("/limits")).status_code == 401
            for token in ("", "None", "admin", "null"):
                answer = await http.get("/limits", headers={"x-rivet-token": token})
                assert answer.status_code in (401, 403)


async def test_a_resolver_says_whose_namespace_a_caller_reaches(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK) as host, asking(host.asgi(resolver=by_header)) as http:
            answer = await http.post(WHO, headers={"x-user": "ada"})
            assert answer.json() == {"output": ["connection", {"user": "ada"}]}
            actor = answer.headers["x-rivet-actor"]
            listed = await host.client(namespace="of-ada").actors()
            assert [one.actor_id for one in listed.actors] == [actor]
            path = f"/gateway/{actor}/action/who"
            assert name_of(await http.post(path, headers={"x-user": "eve"})) == "actor/not_found"
            assert name_of(await http.post(path)) == "auth/unauthenticated"
            assert name_of(await http.post(path, headers={"x-user": "locked"})) == "auth/forbidden"
            assert name_of(await http.post(WHO, headers={"x-user": "banned"})) == "user/banned"
            assert (await http.post(WHO, headers={"x-user": "root"})).json() == {"output": ["admin", None]}
            assert (await http.get("/metrics", headers={"x-user": "ada"})).status_code == 403
            assert (await http.get("/metrics", headers={"x-user": "root"})).status_code == 200


@pytest.mark.parametrize("user", ["broken", "homeless", "mistyped", "NOT A NAMESPACE"])
async def test_a_resolver_that_is_wrong_lets_nobody_in(new_data_dir: Callable[[], Path], user: str) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK) as host, asking(host.asgi(resolver=by_header)) as http:
            answer = await http.post(WHO, headers={"x-user": user})
            assert answer.status_code in (400, 500)
            assert "secret" not in answer.text


async def test_with_a_resolver_nothing_is_open_by_dev(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK, dev=True) as host:
            async with asking(host.asgi(resolver=by_header), "http://localhost") as http:
                assert (await http.get("/limits")).status_code == 401
                assert (await http.post(WHO)).status_code == 401
                assert (await http.post(WHO, headers={"x-user": "ada"})).status_code == 200
            async with asking(host.asgi(), "http://localhost") as http:
                assert (await http.get("/limits")).status_code == 200


async def test_a_token_of_the_host_goes_before_the_resolver(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK) as host, asking(host.asgi(resolver=by_header)) as http:
            token = (await host.client(namespace="acme").connection_token(claims={"user": "by token"})).token
            headers = {"x-user": "ada", "authorization": f"Bearer {token}", "origin": "https://elsewhere.example"}
            answer = await http.post(WHO, headers=headers)
            assert answer.json() == {"output": ["connection", {"user": "by token"}]}
            headers["authorization"] = f"Bearer {token}x"
            assert name_of(await http.post(WHO, headers=headers)) == "auth/forbidden"


async def test_pages_of_other_origins_may_not_use_what_a_resolver_finds(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK) as host:
            app = host.asgi(resolver=by_header, origins=["https://friend.example"])
            async with asking(app, **{"x-user": "ada"}) as http:
                for origin, status in (
                    ("http://app.example", 200),
                    ("https://app.example", 200),
                    ("https://friend.example", 200),
                    ("http://friend.example", 403),
                    ("https://app.example.evil.example", 403),
                    ("https://app.example:8443", 403),
                    ("null", 403),
                ):
                    assert (await http.post(WHO, headers={"origin": origin})).status_code == status, origin


async def test_a_page_of_an_actor_s_own_making_is_not_of_the_origin_of_the_application(
    new_data_dir: Callable[[], Path],
) -> None:
    """It is at the same address; a script in it would else do with a visitor's session what it likes."""
    page = WHO.replace("action/who", "request/page")
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK, public_actors=True) as host:
            async with asking(host.asgi(resolver=by_header), **{"x-user": "ada"}) as http:
                policies = (await http.get(page)).headers.get_list("content-security-policy")
                assert [policy.split()[0] for policy in policies] == ["sandbox"]
                assert "allow-same-origin" not in policies[0]
            async with asking(host.asgi()) as http:
                answer = await http.get(page)
                assert (answer.status_code, "content-security-policy" in answer.headers) == (200, False)


@pytest.mark.parametrize("origin", ["http://[", "://app.example", "http://app.example:x", "app.example"])
async def test_an_origin_that_is_none_is_not_the_application_s(new_data_dir: Callable[[], Path], origin: str) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK) as host, asking(host.asgi(resolver=by_header)) as http:
            assert (await http.post(WHO, headers={"origin": origin, "x-user": "ada"})).status_code == 403


async def test_what_a_page_of_another_site_loads_does_not_use_a_session(new_data_dir: Callable[[], Path]) -> None:
    """An image, say: browsers name no origin for it."""
    path = "/gateway/desk/request/?rvt-method=getOrCreate&rvt-key=k"
    with anyio.fail_after(30):
        async with (
            Host(new_data_dir(), definitions=DESK) as host,
            asking(host.asgi(resolver=by_header), **{"x-user": "ada"}) as http,
        ):
            for site, mode, status in (
                ("cross-site", "no-cors", 403),
                ("cross-site", "navigate", 200),
                ("same-origin", "no-cors", 200),
                ("none", "navigate", 200),
            ):
                headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
                assert (await http.get(path, headers=headers)).status_code == status, (site, mode)


async def test_no_actor_sees_what_is_for_the_program(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK) as host, asking(host.asgi(resolver=by_header)) as http:
            path = "/gateway/desk/request/?rvt-method=getOrCreate&rvt-key=k"
            headers = {
                "x-user": "ada",
                "cookie": "session=s3cret",
                "authorization": "Bearer of-the-program",
                "x-a": "b",
            }
            answer = await http.get(path, headers=headers)
            assert "x-a=b" in answer.text
            for hidden in ("s3cret", "of-the-program", "cookie", "authorization"):
                assert hidden not in answer.text


async def test_it_is_mounted_below_a_prefix_of_another_application(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions=DESK) as host:
            app = Starlette(routes=[Mount("/deep/er", host.asgi(resolver=by_header))])
            async with asking(app, **{"x-user": "ada"}) as http:
                assert (await http.post(f"/deep/er{WHO}")).json() == {"output": ["connection", {"user": "ada"}]}
                assert (await http.get("/deep/er/health")).json() == {"status": "up"}
                assert (await http.post(WHO)).status_code == 404


async def test_the_program_itself_needs_no_port_and_no_token(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        for settings in ({}, {"dev": True}, {"admin_token": "a token of the operator"}):
            async with Host(new_data_dir(), definitions=DESK, **settings) as host:
                client = host.client(namespace="acme")
                desk = client.get_or_create("desk", "k")
                assert [await desk.action("add", 2), await desk.action("add", 3)] == [2, 5]
                assert await desk.action("who") == ["admin", None]
                with pytest.raises(DormiceError) as error:
                    await desk.action("nope")
                assert error.value.name == "actor/action_not_found"
                assert [one.name for one in (await client.actors()).actors] == ["desk"]
                assert (await host.client().actors()).actors == []
            with pytest.raises(DormiceError):
                await desk.action("add", 1)
            with pytest.raises(RuntimeError, match="not open"):
                host.client()


class Echo(Actor):
    def auth(self, request: AuthRequest) -> Any:
        if request.path == "/no":
            raise UserError("not here", code="no")
        return request.kind

    @action
    def who(self) -> Any:
        return self.authorised

    def on_websocket(self, socket: Socket) -> None:
        if not socket.restored:
            socket.send(f"open {self.authorised}")

    def on_message(self, socket: Socket, message: Message) -> None:
        socket.send(message.data)


async def test_the_program_itself_has_sockets_without_a_port(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with Host(new_data_dir(), definitions={"echo": Echo}) as host:
            echo = host.client().get_or_create("echo", "k")
            async with echo.websocket() as socket:
                assert await socket.receive() == "open socket"
                await host.client().sleep(await echo.resolve())
                await socket.send("x" * 200_000)
                assert await socket.receive() == "x" * 200_000
            with pytest.raises(DormiceError) as refused:
                await echo.websocket("no")
            assert refused.value.name == "user/no"
            async with echo.connect() as connection:
                assert await connection.action("who") == "connect"
            async with echo.session() as session:
                assert await session.receive() == "open socket"
                await session.send("again")
                assert await session.receive() == "again"
            left = await echo.websocket()
            assert await left.receive() == "open socket"
        with pytest.raises(SocketClosed) as closed:
            await left.receive()
        assert (closed.value.code, closed.value.reason) == (1012, "node.draining")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "anyio", "anyio on uvloop"])
def test_it_runs_in_every_loop_that_a_program_may_have(new_data_dir: Callable[[], Path], loop: str) -> None:
    path = new_data_dir()

    async def main() -> Any:
        with anyio.fail_after(30):
            for count in (1, 2):
                async with Host(path, definitions={**DESK, "echo": Echo}) as host:
                    found = await host.client().get_or_create("desk", "k").action("add", 1)
                    assert found == count
                    socket = await host.client().get_or_create("echo", "k").websocket()
                    assert await socket.receive() == "open socket"
                    await socket.close()
            return count

    if loop == "asyncio":
        assert asyncio.run(main()) == 2
    elif loop == "uvloop":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(main()) == 2
    else:
        assert anyio.run(main, backend_options={"use_uvloop": loop == "anyio on uvloop"}) == 2


async def test_a_data_directory_in_use_is_refused_with_who_holds_it(new_data_dir: Callable[[], Path]) -> None:
    path = new_data_dir()
    with anyio.fail_after(30):
        async with Host(path, definitions=DESK):
            with pytest.raises(DormiceError, match=r"in use by process \d+ on \S+ since \d{4}-\d\d-\d\d"):
                async with Host(path, definitions=DESK):
                    raise AssertionError("two hosts had the directory")
        async with Host(path, definitions=DESK):
            pass  # the first has let go of it, and the second attempt left nothing behind


def test_a_caller_that_makes_no_sense_is_told() -> None:
    with pytest.raises(ValueError, match="'fly' is no scope"):
        caller("acme", scopes=["fly"])  # type: ignore[list-item]
    with pytest.raises(CallerError):
        caller("NOT A NAMESPACE")
    assert caller("acme", scopes=SCOPES, claims=b"x").claims == b'["$Uint8Array","eA=="]'
