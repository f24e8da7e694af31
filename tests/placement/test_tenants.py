"""Tenants: what one uses costs that one; its quotas are refused by name, and the others do not notice."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from host.model.definitions import DefinitionOptions
from host.model.errors import DormiceError
from host.model.limits import QUOTAS, Limits
from host.model.ports import CpuUser
from host.model.usage import QuotaUse
from host.placement.tenants import Tenants
from host.storage.memory import MemoryDriver
from host.telemetry.metrics import MetricsRegistry
from tests.actor.harness import TENANT, CodeShelf, Harness, open_harness
from tests.storage.test_catalogue import module
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

COUNTER = """import {actor} from 'isolate';
export default actor({state: {n: 0, order: []}, actions: {
  add: (c, n) => { c.state.order.push(n); return (c.state.n += 1); },
  order: (c) => c.state.order,
}});"""


class User(CpuUser):
    def __init__(self) -> None:
        self.signals = 0

    def signal(self) -> None:
        self.signals += 1


class Books:
    """The accounts alone."""

    def __init__(self, **limits: int) -> None:
        self.clock = VirtualClock()
        self.metrics = MetricsRegistry()
        self.driver = MemoryDriver()
        self.tenants = Tenants(self.driver, self.clock, Limits(**limits), self.metrics)


async def other_actor(h: Harness, tenant: str) -> str:
    """An actor of another tenant, of the same code."""
    digest = h.shelf.put(COUNTER)
    await h.storage.put_definition(tenant, "a", digest, DefinitionOptions(), {}, h.clock.now_ms())
    return (await h.placement.get_or_create(tenant, "a", ("k",), None))[0].actor_id


# --- CPU time --------------------------------------------------------------------------------------------------------


async def test_a_tenant_with_cpu_time_left_is_never_held_up() -> None:
    books = Books(tenant_cpu_burst=1_000)
    users = [User() for _ in range(5)]
    assert all(books.tenants.may_run("a", user) for user in users)
    books.tenants.charge("a", 0.9)
    assert all(books.tenants.may_run("a", user) for user in users)
    assert (await books.tenants.usage("a")).held_up == 0


async def test_with_an_empty_bucket_users_wait_in_order_and_go_one_at_a_time() -> None:
    books = Books(tenant_cpu=500, tenant_cpu_burst=1_000)
    first, second, third = User(), User(), User()
    books.tenants.charge("a", 2.0)
    assert [books.tenants.may_run("a", user) for user in (first, second, third)] == [False] * 3
    assert books.tenants.may_run("b", User())
    await books.clock.advance(1.9)
    assert [user.signals for user in (first, second, third)] == [0, 0, 0]
    await books.clock.advance(0.2)
    assert [user.signals for user in (first, second, third)] == [1, 0, 0]
    # who comes now goes behind those who wait, even though there is time
    assert not books.tenants.may_run("a", late := User())
    assert not books.tenants.may_run("a", second)
    assert books.tenants.may_run("a", first)
    books.tenants.charge("a", 0.01)
    assert (second.signals, third.signals) == (1, 0)
    assert books.tenants.may_run("a", second)
    books.tenants.charge("a", 1.0)
    await books.clock.advance(1.8)
    assert (third.signals, late.signals) == (0, 0)
    await books.clock.advance(0.3)
    assert books.tenants.may_run("a", third)
    books.tenants.charge("a", 0.0)
    assert books.tenants.may_run("a", late)
    assert (books.metrics.counter("limits", "tenant_cpu"), books.metrics.counter("tenants_slowed")) == (4, 1)


async def test_a_tenant_that_is_always_busy_is_said_to_be_slowed_once_until_it_has_saved_all_again() -> None:
    books = Books(tenant_cpu=500, tenant_cpu_burst=1_000)
    books.tenants.charge("a", 1.5)
    for _ in range(60):
        await books.clock.advance(1.1)
        books.tenants.charge("a", 0.55)
    assert books.metrics.counter("tenants_slowed", "tenant_cpu") == 1
    await books.clock.advance(10)
    books.tenants.charge("a", 0.5)
    assert books.metrics.counter("tenants_slowed", "tenant_cpu") == 1
    books.tenants.charge("a", 0.6)
    assert books.metrics.counter("tenants_slowed", "tenant_cpu") == 2


async def test_a_turn_that_was_given_and_never_used_holds_up_nobody() -> None:
    books = Books(tenant_cpu=1_000, tenant_cpu_burst=1_000)
    gone, silent, last = User(), User(), User()
    books.tenants.charge("a", 1.5)
    assert not any(books.tenants.may_run("a", user) for user in (gone, silent, last))
    await books.clock.advance(0.6)
    assert gone.signals == 1
    books.tenants.leave("a", gone)
    assert silent.signals == 1
    # its job was refused, so nothing is ever charged for it
    assert books.tenants.may_run("a", silent)
    await books.clock.advance(0.1)
    assert books.tenants.may_run("a", last)


async def test_who_is_called_and_does_not_come_holds_up_nobody() -> None:
    books = Books(tenant_cpu=1_000, tenant_cpu_burst=1_000)
    idle, last = User(), User()
    books.tenants.charge("a", 1.5)
    assert not any(books.tenants.may_run("a", user) for user in (idle, last))
    await books.clock.advance(0.6)
    # what it waited for is gone, so it does not ask again, and does not leave either
    assert (idle.signals, last.signals) == (1, 0)
    await books.clock.advance(0.4)
    assert last.signals == 1
    assert books.tenants.may_run("a", last)


async def test_over_time_a_tenant_gets_its_rate_and_no_more(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_cpu=200, tenant_cpu_burst=1_000)) as h:
        await h.define(COUNTER)
        actor = await h.actor()
        assert await h.call(actor, "add", 0) == 1
        h.cost.seconds = 0.5
        began = h.clock.monotonic()
        done: list[float] = []

        async def ask(number: int) -> None:
            await h.call(actor, "add", number)
            done.append(h.clock.monotonic() - began)

        async with anyio.create_task_group() as tasks:
            for number in range(1, 7):
                tasks.start_soon(ask, number)
                await h.rest()  # each has a hop of its own
            # two hops out of the savings, then one for each half second of CPU time at a fifth of a core
            await h.advance(20)
        assert done[:2] == [0.0, 0.0]
        assert len(done) == 6
        assert done[-1] < 3.0  # the rest waited together, and went in one hop
        h.cost.seconds = 0.0
        await h.advance(10)
        assert await h.call(actor, "order") == [0, 1, 2, 3, 4, 5, 6]


async def test_a_tenant_without_cpu_time_keeps_its_events_and_their_order_and_its_neighbour_goes_on(
    shelf: CodeShelf,
) -> None:
    async with open_harness(shelf, limits=Limits(tenant_cpu=100, tenant_cpu_burst=1_000)) as h:
        await h.define(COUNTER)
        actor, neighbour = await h.actor(), await other_actor(h, "other")
        assert await h.call(actor, "add", 0) == 1
        h.cost.seconds = 2.0
        assert await h.call(actor, "add", 1) == 2
        h.cost.seconds = 0.0
        answers: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def ask(number: int) -> None:
                answers.append(await h.call(actor, "add", number))

            for number in range(2, 12):
                tasks.start_soon(ask, number)
            await h.rest()
            assert answers == []
            for number in range(50):
                assert await h.call(neighbour, "add", number) == number + 1
            await h.advance(9)
            assert answers == []
            await h.advance(1.5)
        assert sorted(answers) == list(range(3, 13))
        assert (await h.call(actor, "order")) == list(range(12))
        usage = await h.placement.usage(TENANT)
        assert (usage.held_up, usage.cpu_ms, usage.refusals) == (1, 2_000, {})
        assert (await h.placement.usage("other")).held_up == 0
        assert h.count("events_refused") == h.count("events_failed") == 0


async def test_a_destroy_and_a_stop_wait_no_longer_than_their_grace_for_cpu_time(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_cpu=1, tenant_cpu_burst=1_000)) as h:
        await h.define(COUNTER)
        doomed, sleepy = await h.actor(key="1"), await h.actor(key="2")
        for actor in (doomed, sleepy):
            await h.call(actor, "add", 0)
        h.tenants.charge(TENANT, 60.0)
        await h.destroy(doomed, 5)
        assert h.state(doomed) == "absent"
        assert h.count("destroys_cut", "grace") == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(h.placement.sleep, sleepy)
            await h.rest()
            assert h.state(sleepy) == "stopping"
            await h.advance(16)  # the grace is over, whatever the guest could not be told
        assert h.state(sleepy) == "absent"
        assert (await h.record(sleepy)).lifecycle == "asleep"


async def test_a_start_waits_for_cpu_time_before_its_own_time_begins(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_cpu=100, tenant_cpu_burst=1_000)) as h:
        await h.define(COUNTER)
        actor = await h.actor()
        h.tenants.charge(TENANT, 4.0)
        answers: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                answers.append(await h.call(actor, "add", 1))

            tasks.start_soon(ask)
            await h.advance(29)
            assert answers == []
            await h.advance(2)
        assert answers == [1]
        assert h.count("start_failures") == 0


# --- quotas ----------------------------------------------------------------------------------------------------------


async def test_actors_awake_are_bounded_for_each_tenant_and_told_apart(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_actors=2)) as h:
        await h.define(COUNTER)
        actors = [await h.actor(key=str(number)) for number in range(3)]
        for actor in actors[:2]:
            await h.call(actor, "add", 0)
        error = await h.error(actors[2], "add", 0)
        assert (error.name, error.retryable, error.metadata) == (
            "limit/exceeded",
            True,
            b'{"limit":"tenant_actors","used":3,"allowed":2}',
        )
        assert await h.call(await other_actor(h, "other"), "add", 0) == 1
        assert h.state(actors[2]) == "absent"
        await h.asleep(actors[0])
        assert await h.call(actors[2], "add", 0) == 1
        usage = await h.placement.usage(TENANT)
        assert (usage.quotas["tenant_actors"].used, usage.refusals) == (2, {"tenant_actors": 1})
        assert h.count("limits", "tenant_actors") == h.count("starts_refused", "limit/exceeded") == 1


async def test_messages_of_an_actor_over_the_quota_wait_and_are_delivered_when_there_is_room(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_actors=1)) as h:
        chatty = await h.probe()
        socket = await h.open(chatty)
        await h.asleep(chatty)
        await h.define(COUNTER, "b")
        other = await h.actor("b", "x")
        await h.call(other, "add", 0)
        for number in range(3):
            socket.send(f"echo {number}")
        await h.advance(5)
        assert (socket.frames, socket.closed) == (["welcome"], None)
        await h.asleep(other)
        await h.advance(2)
        assert socket.frames == ["welcome", "echo 0", "echo 1", "echo 2"]
        assert await h.index(socket) == 3


async def test_starts_in_a_minute_are_bounded_and_come_back_evenly(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_starts=3)) as h:
        await h.define(COUNTER)
        actors = [await h.actor(key=str(number)) for number in range(4)]
        for actor in actors[:3]:
            await h.call(actor, "add", 0)
        error = await h.error(actors[3], "add", 0)
        assert error.metadata == b'{"limit":"tenant_starts","used":4,"allowed":3}'
        assert error.retry_after is not None
        assert 19 < error.retry_after < 21
        await h.advance(20.1)
        assert await h.call(actors[3], "add", 0) == 1
        assert (await h.placement.usage(TENANT)).starts == 4


async def test_an_actor_over_a_quota_waits_for_its_turn_and_reads_nothing_meanwhile(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_actors=1)) as h:
        chatty = await h.probe()
        socket = await h.open(chatty)
        await h.asleep(chatty)
        await h.define(COUNTER, "b")
        await h.call(await h.actor("b", "x"), "add", 0)
        socket.send("echo 0")
        await h.rest()
        hydrated = h.storage.hydrations
        await h.advance(20)
        assert h.storage.hydrations == hydrated
        assert h.count("starts_refused", "limit/exceeded") == 1


async def test_calls_have_quotas_of_their_number_and_of_the_bytes_that_they_hold() -> None:
    tenants = Books(tenant_calls=2, tenant_call_bytes=100).tenants
    assert tenants.begin_call("a", 90) is None
    too_large = tenants.begin_call("a", 11)
    assert too_large is not None
    assert too_large.metadata == b'{"limit":"tenant_call_bytes","used":101,"allowed":100}'
    assert tenants.begin_call("a", 10) is None
    too_many = tenants.begin_call("a", 0)
    assert too_many is not None
    assert too_many.metadata == b'{"limit":"tenant_calls","used":3,"allowed":2}'
    assert tenants.begin_call("b", 100) is None
    tenants.end_call("a", 90)
    assert tenants.grow_call("a", 91) is not None
    assert tenants.grow_call("a", 90) is None
    assert (await tenants.usage("a")).quotas["tenant_call_bytes"].used == 100


async def test_fetches_have_a_rate_that_fills_again() -> None:
    books = Books(tenant_fetches=60)
    tenants = books.tenants
    assert [tenants.take_fetch("a") for _ in range(60)] == [None] * 60
    refused = tenants.take_fetch("a")
    assert refused is not None
    assert refused.metadata == b'{"limit":"tenant_fetches","used":61,"allowed":60}'
    assert refused.retry_after == pytest.approx(1.0, abs=0.01)
    assert tenants.take_fetch("b") is None
    await books.clock.advance(1.01)
    assert tenants.take_fetch("a") is None
    assert tenants.take_fetch("a") is not None
    await tenants.set_quotas("a", {"tenant_fetches": 600})
    await books.clock.advance(1.01)
    assert [tenants.take_fetch("a") is None for _ in range(11)] == [True] * 10 + [False]


async def test_connections_modules_definitions_and_timers_have_quotas() -> None:
    books = Books(tenant_connections=2, tenant_modules=10, tenant_definitions=1, tenant_timers=5)
    tenants = books.tenants
    tenants.count_connections("a", 2)
    refused = tenants.refuse_connection("a")
    assert refused is not None
    assert refused.metadata == b'{"limit":"tenant_connections","used":3,"allowed":2}'
    assert tenants.refuse_connection("b") is None
    tenants.count_connections("a", -1)
    assert tenants.refuse_connection("a") is None

    await books.driver.put_module(module(b"1234567", tenant="a"), b"1234567")
    await tenants.admit_module("a", 3)
    with pytest.raises(DormiceError) as error:
        await tenants.admit_module("a", 4)
    assert error.value.metadata == b'{"limit":"tenant_modules","used":11,"allowed":10}'
    await tenants.admit_module("b", 10)

    define: Any = partial(books.driver.put_definition, "a", options=DefinitionOptions(), limits={}, now=1)
    await tenants.admit_definition("a", "x")
    await define("x", "0" * 64)
    await tenants.admit_definition("a", "x")
    with pytest.raises(DormiceError) as error:
        await tenants.admit_definition("a", "y")
    assert error.value.metadata == b'{"limit":"tenant_definitions","used":2,"allowed":1}'

    tenants.count_timers("a", 4)
    assert tenants.timer_room("a") == (4, 5)
    usage = await tenants.usage("a")
    assert {name: use.used for name, use in usage.quotas.items()} == {
        "tenant_cpu": None,
        "tenant_cpu_burst": 0,
        "tenant_actors": 0,
        "tenant_starts": 0,
        "tenant_connections": 1,
        "tenant_modules": 7,
        "tenant_definitions": 1,
        "tenant_tokens": 0,
        "tenant_timers": 4,
        "tenant_fetches": 0,
        "tenant_calls": 0,
        "tenant_call_bytes": 0,
    }
    assert usage.refusals == {"tenant_connections": 1, "tenant_definitions": 1, "tenant_modules": 1}


async def test_an_operator_sets_quotas_that_outlive_the_process() -> None:
    books = Books()
    await books.tenants.set_quotas("a", {"tenant_actors": 1, "tenant_cpu": 50, "tenant_cpu_burst": 100})
    again = Tenants(books.driver, books.clock, Limits(), books.metrics)
    await again.load("a")
    again.begin_start("a")
    with pytest.raises(DormiceError):
        again.begin_start("a")
    again.charge("a", 0.2)
    assert not again.may_run("a", User())
    assert (await again.usage("a")).quotas["tenant_actors"].own
    assert (await again.usage("a")).quotas["tenant_cpu"] == QuotaUse(None, 50, 64_000, "ms", True)
    # nothing set is the default again, at once and for who waits
    await again.set_quotas("a", {})
    again.begin_start("a")
    assert not (await again.usage("a")).quotas["tenant_actors"].own


@pytest.mark.parametrize(
    "quotas", [{"actors": 1}, {"nonsense": 1}, {"tenant_actors": 0}, {"tenant_actors": 30_001}, {"memory": 5}]
)
async def test_a_bad_quota_is_refused_and_changes_nothing(quotas: dict[str, int]) -> None:
    books = Books()
    with pytest.raises(DormiceError) as error:
        await books.tenants.set_quotas("a", quotas)
    assert error.value.name == "request/invalid"
    assert await books.driver.tenant_quotas("a") == {}


async def test_quotas_that_an_older_version_stored_are_cut_to_what_there_is_now() -> None:
    books = Books()
    await books.driver.put_tenant_quotas("a", {"tenant_gone": 5, "tenant_actors": 10**9}, 1)
    allowed = (await books.tenants.usage("a")).quotas["tenant_actors"].allowed
    assert allowed == next(quota.maximum for quota in QUOTAS if quota.name == "tenant_actors")
