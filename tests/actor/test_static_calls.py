"""What static actors call: other actors, in Python or not, and the outside; and how they hear who calls them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from host import Actor, CallFailed, action
from host.model.calls import CallOutcome
from host.model.definitions import EgressOptions
from host.model.errors import ErrorInfo
from host.static.spec import spec_of
from tests.actor.harness import CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

GUEST = """
import { actor, UserError } from "isolate";
export default actor({
  state: { n: 0 },
  actions: {
    add(c, n) { return (c.state.n += n); },
    who: (c) => c.caller ?? null,
    no() { throw new UserError("not today", { code: "sunday", metadata: { until: 1 } }); },
    askBack: (c, key) => c.client().python.getOrCreate([key]).who(),
  },
});
"""


class Caller(Actor):
    egress = EgressOptions(hosts=("api.example.com",))

    def create_state(self, input: Any) -> Any:
        return {"input": input, "heard": None}

    @action
    async def ask(self, key: str, name: str, *args: Any) -> Any:
        return await self.client()["a"].get_or_create(key).action(name, *args)

    @action
    async def add_twice(self) -> Any:
        guest = self.client().a.get_or_create(["k"])
        first, second = guest.add(1), guest.add(10)
        return [await second, await first]

    @action
    async def make(self, key: str, input: Any) -> Any:
        made = await self.client().python.create(key, input=input)
        return [await made.resolve(), await made.given()]

    @action
    def given(self) -> Any:
        return self.state["input"]

    @action
    async def who(self) -> Any:
        before = self.caller
        await self.delay(1)
        assert self.caller == before
        return None if before is None else [before.actor_id, before.name]

    @action
    async def caught(self, name: str, key: str, action: str) -> Any:
        try:
            return await self.client()[name].get(key).action(action)
        except CallFailed as failed:
            return [failed.group, failed.code]

    @action
    async def post(self, url: str) -> Any:
        found = await self.fetch(url, method="POST", headers={"X-A": "1"}, body="text", timeout=500)
        return [found.status, found.ok, found.header("A"), found.text(), found.url]

    @action
    async def fails(self) -> Any:
        try:
            await self.fetch("https://api.example.com/")
        except CallFailed as failed:
            return [failed.group, failed.code, failed.message]


async def opened(h: Harness) -> tuple[str, str]:
    """A guest, and a static actor."""
    await h.define(GUEST)
    return await h.actor(), await h.actor("python")


def harness(shelf: CodeShelf) -> Any:
    return open_harness(shelf, registered={"python": spec_of(Caller)})


async def test_a_static_actor_calls_a_guest_which_hears_who_it_is(shelf: CodeShelf) -> None:
    async with harness(shelf) as h:
        _, python = await opened(h)
        assert await h.call(python, "ask", "k", "add", 2) == 2
        assert await h.call(python, "add_twice") == [13, 3]
        assert await h.call(python, "ask", "k", "who") == {"actorId": python, "name": "python"}


async def test_each_handler_hears_its_own_caller_across_its_awaits(shelf: CodeShelf) -> None:
    async with harness(shelf) as h:
        guest, python = await opened(h)
        found: list[Any] = []

        async def ask(*call: Any) -> None:
            found.append(await h.call(*call))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, guest, "askBack", "k")
            tasks.start_soon(ask, python, "who")
            await h.rest()
            await h.advance(1)
        assert sorted(found, key=str) == [None, [guest, "a"]]


async def test_create_gives_the_input_and_the_handle_of_an_id(shelf: CodeShelf) -> None:
    async with harness(shelf) as h:
        _, python = await opened(h)
        made, given = await h.call(python, "make", "new", {"n": [1]})
        assert given == {"n": [1]}
        assert made == await h.actor("python", "new")
        assert (await h.error(python, "make", "new", 1)).name == "internal/internal_error"


async def test_errors_are_raised_and_those_of_users_pass_on(shelf: CodeShelf) -> None:
    async with harness(shelf) as h:
        _, python = await opened(h)
        error = await h.error(python, "ask", "k", "no")
        assert (error.name, error.message, error.metadata) == ("user/sunday", "not today", b'{"until":1}')
        assert await h.call(python, "caught", "a", "nobody", "add") == ["actor", "not_found"]
        assert await h.call(python, "caught", "nothing", "k", "add") == ["actor", "not_found"]
        assert await h.call(python, "caught", "a", "k", "nonsense") == ["actor", "action_not_found"]


async def test_a_static_actor_fetches_as_its_class_allows(shelf: CodeShelf) -> None:
    async with harness(shelf) as h:
        _, python = await opened(h)
        posted = await h.call(python, "post", "https://api.example.com/x")
        assert posted == [200, True, "b", "hello", "https://x.example/"]
        ((caller, call),) = h.outside.asked
        assert (caller.actor_id, caller.egress) == (python, Caller.egress)
        assert (call.method, call.headers, call.body, call.timeout) == ("POST", (("X-A", "1"),), b"text", 500)
        h.outside.outcome = CallOutcome(error=ErrorInfo("fetch", "refused", "no"))
        assert await h.call(python, "fails") == ["fetch", "refused", "no"]
