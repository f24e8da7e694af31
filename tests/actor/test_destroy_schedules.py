"""Creations, destroys and actions of one key, in any order and company: one generation lives, the next follows it."""

from __future__ import annotations

import faulthandler
from collections import Counter
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.model.errors import DormiceError
from tests.actor.harness import PROBE, TENANT, CodeShelf, Failed, Harness, open_harness

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Longer than for other tests: a failure is made small before it is reported, which runs many examples."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


CALLS = 50
EXAMPLES = 25
# What a client of a key may be told when somebody else destroys its actor. A guest that faults in its end says so to
# those whose calls it cut off.
DOCUMENTED = {"actor/not_found", "actor/aborted"}

DOES = st.sampled_from(["ensure", "inc", "inc", "inc later", "destroy", "destroy", "end", "sleep", "open", "bad end"])
# Turns of the event loop before the next call, or seconds.
GAPS = st.one_of(st.integers(0, 40), st.integers(0, 3), st.sampled_from([0.0, 0.5, 3.0, 6.0]))
ENDS = st.sampled_from(["throw", "crash", "never", "wait:2000"])
STEPS = st.lists(st.tuples(DOES, GAPS, ENDS), min_size=CALLS, max_size=CALLS)


class Clients:
    """All who use one key, and what they learnt."""

    def __init__(self, h: Harness) -> None:
        self.h = h
        self.births: list[tuple[int, str]] = []
        self.errors: Counter[str] = Counter()
        self.counted: Counter[tuple[str, int]] = Counter()
        self.told = 0

    async def ensure(self) -> str:
        record, created = await self.h.placement.get_or_create(TENANT, "a", ("k",), None)
        if created:
            self.births.append((record.generation, record.actor_id))
        return record.actor_id

    async def one(self, what: str, end: str) -> None:
        try:
            await self.do(what, end)
        except Failed as failed:
            self.errors[failed.name] += 1
        except DormiceError as error:
            self.errors[error.name] += 1
        self.told += 1

    async def do(self, what: str, end: str) -> None:
        h = self.h
        if what == "destroy":
            found = await h.placement.find(TENANT, "a", ("k",))
            if found is not None:
                await h.placement.destroy(found.actor_id)
            return
        actor = await self.ensure()
        if what == "inc":
            self.counted[actor, await h.call(actor, "inc", 1)] += 1
        elif what == "inc later":
            await h.call(actor, "act", "wait:1000")
        elif what == "end":
            assert await h.call(actor, "end") == "the end"
        elif what == "sleep":
            await h.placement.sleep(actor)
        elif what == "open":
            (await h.gateway.open(actor)).send("echo")
        elif what == "bad end":
            await h.call(actor, "put", "end", end)

    async def check_one_lives(self) -> None:
        """As anybody who lists them sees it."""
        page = await self.h.storage.driver.list_actors(TENANT)
        assert len(page.actors) <= 1, page.actors


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(steps=STEPS)
async def test_one_generation_lives_and_errors_are_the_documented_ones(
    shelf: CodeShelf, steps: list[tuple[str, int | float, str]]
) -> None:
    async with open_harness(shelf) as h:
        await h.define(PROBE, limits={"host_calls": 64})
        clients = Clients(h)
        async with anyio.create_task_group() as tasks:
            for what, gap, end in steps:
                tasks.start_soon(clients.one, what, end)
                if isinstance(gap, float):
                    await h.advance(gap)
                else:
                    for _ in range(gap):
                        await anyio.lowlevel.checkpoint()
                await clients.check_one_lives()
            await h.advance(120)
        assert clients.told == CALLS
        assert set(clients.errors) <= DOCUMENTED, clients.errors
        # Each creation is the next generation, with an id of its own, and starts from nothing.
        assert [generation for generation, _ in clients.births] == list(range(1, len(clients.births) + 1))
        assert len({actor for _, actor in clients.births}) == len(clients.births)
        assert set(clients.counted.values()) <= {1}, clients.counted
        # Nobody who ended is left, anywhere.
        assert list(await h.storage.driver.destroying(9)) == []
        live = {record.actor_id for record in (await h.storage.driver.list_actors(TENANT)).actors}
        for _, actor in clients.births:
            assert (await h.storage.driver.hydrate(actor, destroying=True) is not None) == (actor in live)
            assert not (h.gateway.connections_of(actor) and actor not in live)
        assert h.count("actors_destroyed") == len(clients.births) - len(live)
        assert h.count("actor_tasks_failed") == 0
